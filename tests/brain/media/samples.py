"""Small media files, made when they are needed."""

from base64 import b64encode
from io import BytesIO
from zlib import crc32

from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject


def picture(width: int = 8, height: int = 8, kind: str = "PNG", *, noise: bool = False) -> bytes:
    """An image file; with `noise` one that does not compress."""
    if noise:
        image = Image.effect_noise((width, height), 200).convert("RGB")
    else:
        image = Image.new("RGB", (width, height), "teal")
    out = BytesIO()
    image.save(out, kind)
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes whose header promises 10 gigapixels."""
    data = bytearray(picture())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def document(*pages: str, password: str = "") -> bytes:
    """A PDF with a line of text on each page."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        stream = DecodedStreamObject()
        lines = "".join(f"({line}) Tj T* " for line in text.split("\n"))
        stream.set_data(f"BT /F1 12 Tf 14 TL 10 280 Td {lines}ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)  # pyright: ignore[reportPrivateUsage]  there is no public way
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def base64(data: bytes) -> str:
    """As it stands in a request."""
    return b64encode(data).decode()


def block(kind: str, media_type: str, data: bytes) -> dict[str, object]:
    """A media block of /execute."""
    return {
        "type": kind,
        "source": {"type": "base64", "media_type": media_type, "data": base64(data)},
    }
