"""Images: looked at, checked and shrunk with Pillow. All of it blocks: call it from a thread."""

from io import BytesIO
from typing import Any, Final

from msgspec import Struct

from .kinds import ADVISED_BYTES, ADVISED_EDGE, MOST_PIXELS

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITIES: Final = (88, 75, 60, 40)


class BadImage(Exception):
    """Not an image that can be used; the text says why."""


class TooManyPixels(BadImage):
    """An image that would fill the memory once decoded."""


class Look(Struct, frozen=True):
    """What an image's header says. Sizes are pixels."""

    media_type: str
    width: int
    height: int

    @property
    def is_large(self) -> bool:
        """Whether an edge reaches the advised limit."""
        return max(self.width, self.height) >= ADVISED_EDGE


def look(data: bytes) -> Look:
    """Read the header, nothing more. Raises BadImage, also for a decompression bomb."""
    image = _opened(data)
    return Look(f"image/{image.format.lower()}", *image.size)


def verify(data: bytes) -> None:
    """Decode the whole image. Raises BadImage where that fails."""
    image = _opened(data)
    try:
        image.load()
    except Exception as error:  # a broken file makes Pillow raise nearly anything
        raise BadImage(f"it cannot be decoded ({error})") from error


def shrunk(data: bytes) -> tuple[bytes, str]:
    """The image within the advised limits, upright, and its media type. Raises BadImage.

    Of an animation the first picture is kept. The format stays, unless only JPEG is small enough.
    """
    from PIL import ImageOps

    image = _opened(data)
    kind: str = image.format
    try:
        image.load()
        upright: Any = ImageOps.exif_transpose(image)
        upright.thumbnail((ADVISED_EDGE - 1, ADVISED_EDGE - 1))
    except Exception as error:
        raise BadImage(f"it cannot be decoded ({error})") from error
    if kind in ("PNG", "GIF"):
        written = _written(upright, "PNG")
        if len(written) < ADVISED_BYTES:
            return written, "image/png"
    return _compressed(upright, "WEBP" if kind == "WEBP" else "JPEG")


def as_png(data: bytes) -> bytes:
    """The first picture as PNG, for a provider that knows no GIF. Raises BadImage."""
    image = _opened(data)
    try:
        return _written(image, "PNG")
    except Exception as error:
        raise BadImage(f"it cannot be decoded ({error})") from error


def _compressed(image: Any, kind: str) -> tuple[bytes, str]:
    flat = _on_white(image) if kind == "JPEG" else image
    for quality in _QUALITIES:
        written = _written(flat, kind, quality=quality)
        if len(written) < ADVISED_BYTES:
            return written, f"image/{kind.lower()}"
    raise BadImage(f"it cannot be made smaller than {ADVISED_BYTES} bytes")


def _on_white(image: Any) -> Any:
    """Without transparency, which JPEG has not."""
    from PIL import Image

    if image.mode in ("RGB", "L"):
        return image
    layered = image.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")


def _written(image: Any, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _opened(data: bytes) -> Any:
    """The image with its header read. The size is checked here, before anything is decoded."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow's own check warns first; ours, below, is stricter
    try:
        image: Any = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise BadImage("it is not a PNG, JPEG, WebP or GIF image") from error
    except Exception as error:
        raise BadImage(f"its header cannot be read ({error})") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise TooManyPixels(f"it has {width} x {height} pixels, over {MOST_PIXELS:,}")
    return image
