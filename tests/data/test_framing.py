from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.core.errors import InputError
from limbeck.data.framing import Framing
from tests.data.makers import plane

COLOUR = plane(0, (6, 8, 3))


@pytest.mark.parametrize(
    ("picture", "shape"),
    [
        (Image.fromarray(plane(0)), (1, 4, 5)),
        (Image.fromarray(COLOUR), (3, 6, 8)),
        (Image.fromarray(plane(0, (4, 5, 4))), (4, 4, 5)),
        (Image.fromarray(plane(0, (4, 5, 2))), (2, 4, 5)),
    ],
)
def test_plain_pictures_keep_their_bytes(picture: Image.Image, shape: tuple[int, ...]) -> None:
    array = Framing().picture(picture)
    assert array.shape == shape and array.dtype == np.uint8
    assert np.array_equal(array.transpose(1, 2, 0).squeeze(), np.asarray(picture))


def test_palettes_and_two_levels_become_what_they_stand_for() -> None:
    palette = Image.fromarray(np.full((2, 2, 3), (10, 20, 30), dtype=np.uint8)).quantize(4)
    assert Framing().picture(palette)[:, 0, 0].tolist() == [10, 20, 30]
    palette.info["transparency"] = b"\x00\x10\x20\x30"
    assert Framing().picture(palette)[:, 0, 0].tolist() == [10, 20, 30]
    two_levels = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert Framing().picture(two_levels).tolist() == [[[0, 255]]]


def test_more_than_8_bits_are_refused() -> None:
    with pytest.raises(InputError, match="its mode I;16 is not 8 bits per value; convert the images"):
        Framing().picture(Image.fromarray(np.zeros((2, 2), dtype=np.uint16)))


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_pictures_and_arrays_are_recoloured_alike(channels: str) -> None:
    framing = Framing(channels=channels)  # type: ignore[arg-type]
    rgb = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for images in (rgb, rgb[:, :1]):
        squeezed = [one.permute(1, 2, 0).squeeze(-1).numpy() for one in images]
        expected = np.stack([framing.picture(Image.fromarray(one)) for one in squeezed])
        found = framing.pixels(images)
        assert np.array_equal(found.numpy(), expected)
        assert found.shape[1] == (1 if channels == "gray" else 3) and found.is_contiguous()


def test_gray_is_luma() -> None:
    pixels = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], dtype=torch.uint8).view(4, 3, 1, 1)
    assert Framing(channels="gray").pixels(pixels).flatten().tolist() == [76, 150, 29, 9]


def test_transparency_is_dropped() -> None:
    picture = Image.fromarray(plane(0, (4, 5, 4)))
    assert np.array_equal(Framing(channels="rgb").picture(picture), plane(0, (4, 5, 4))[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("source", "target", "cover", "corner"),
    [
        ((6, 8), 3, (3, 4), (0, 0)),
        ((8, 6), 3, (4, 3), (0, 0)),
        ((10, 4), (2, 2), (5, 2), (2, 0)),
        ((4, 10), (4, 4), (4, 10), (0, 3)),
        ((5, 7), (10, 3), (10, 14), (0, 6)),
        ((3, 3), (4, 6), (6, 6), (1, 0)),
    ],
)
def test_crop_covers_the_size_and_cuts_the_middle_out(source, target, cover, corner) -> None:  # type: ignore[no-untyped-def]
    array = plane(0, source)
    high, wide = (target, target) if isinstance(target, int) else target
    scaled = np.asarray(Image.fromarray(array).resize((cover[1], cover[0]), Image.Resampling.BILINEAR))
    expected = scaled[corner[0] : corner[0] + high, corner[1] : corner[1] + wide]
    framing = Framing(image_size=target)
    assert np.array_equal(framing.picture(Image.fromarray(array))[0], expected)
    assert np.array_equal(framing.pixels(torch.from_numpy(array)[None, None])[0, 0].numpy(), expected)


def test_resize_stretches() -> None:
    framing = Framing(image_size=(3, 7), fit="resize")
    picture = Image.fromarray(COLOUR)
    expected = np.asarray(picture.resize((7, 3), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(framing.picture(picture), expected)
    several = torch.from_numpy(np.stack([expected * 0, COLOUR.transpose(2, 0, 1)[:, :3, :7]]))
    assert torch.equal(framing.pixels(several), several)
    # Arrays may have any number of channels: each is scaled by itself.
    stack = torch.from_numpy(COLOUR.transpose(2, 0, 1).copy())[None].repeat(2, 2, 1, 1)
    scaled = framing.pixels(stack)
    assert scaled.shape == (2, 6, 3, 7)
    assert np.array_equal(scaled[1, 3:].numpy(), expected)


def test_nothing_to_do_changes_nothing() -> None:
    pixels = torch.from_numpy(plane(0, (2, 5, 4, 4)))
    assert Framing().pixels(pixels) is pixels
    assert Framing(image_size=4).pixels(pixels) is pixels


def test_photographs_are_turned_upright() -> None:
    picture = Image.fromarray(plane(0))
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    picture.info["exif"] = exif.tobytes()
    assert np.array_equal(Framing().picture(picture)[0], np.rot90(plane(0), -1))


@pytest.mark.parametrize("fault", [{"image_size": 0}, {"image_size": (4, -1)}, {"fit": "pad"}, {"channels": "hsv"}])
def test_framings_that_cannot_be(fault) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        Framing(**fault)


def test_other_channels_cannot_be_recoloured() -> None:
    with pytest.raises(InputError, match="images of 2 channels cannot be made gray; set channels to as-is"):
        Framing(channels="gray").pixels(torch.zeros(1, 2, 3, 3, dtype=torch.uint8))
