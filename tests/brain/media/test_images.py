"""Images are looked at before they are decoded, and made smaller without losing what they are."""

from io import BytesIO

import pytest
from PIL import Image

from september.brain.media import images
from september.brain.media.images import BadImage, Look, TooManyPixels
from september.brain.media.png import bare

from .samples import bomb, picture


def test_a_look_reads_the_header_only() -> None:
    assert images.look(picture(30, 20, "WEBP")) == Look("image/webp", 30, 20)


def test_a_decompression_bomb_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(TooManyPixels, match="100000 x 100000"):
        images.look(bomb())


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"%PDF-1.7", picture()[:40]])
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadImage):
        images.verify(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_large_image_comes_out_below_2048_pixels_with_its_proportions(kind: str) -> None:
    data, media_type = images.shrunk(picture(3000, 1000, kind))
    seen = images.look(data)
    assert media_type == seen.media_type
    assert seen.width == 2047
    assert abs(seen.height - 682) <= 1


def test_an_image_that_png_keeps_above_5_mb_becomes_a_smaller_jpeg() -> None:
    noisy = picture(2000, 2000, noise=True)
    data, media_type = images.shrunk(noisy)
    assert len(noisy) > 5 * 2**20 > len(data)
    assert media_type == "image/jpeg"


def test_an_image_stored_on_its_side_is_set_upright() -> None:
    out = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (3000, 100), "red").save(out, "JPEG", exif=exif)
    seen = images.look(images.shrunk(out.getvalue())[0])
    assert seen.height > seen.width


def test_a_gif_becomes_a_png_for_those_who_know_no_gif() -> None:
    assert images.look(images.as_png(picture(kind="GIF"))).media_type == "image/png"


def test_a_png_with_a_broken_profile_is_a_picture_without_it() -> None:
    whole = picture()
    broken = whole[:33] + b"\x00\x00\x00\x04iCCPlost" + b"\xff" * 4 + whole[33:]
    with pytest.raises(BadImage):
        images.verify(broken)
    assert bare(broken) == bare(whole) == whole
    assert bare(picture(kind="JPEG")) == picture(kind="JPEG")
