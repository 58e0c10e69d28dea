from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import hflip
from torchvision.transforms.functional import resized_crop as torchvision_crop

from limbeck.augmentations.jitter import Jitter
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream

SHAPE = (3, 12, 10)
SPEC = DataSpec("test", *SHAPE, ("a", "b"), Normalization((0.5,) * 3, (0.5,) * 3), "none")
IMAGES = Stream(0).normal(5, *SHAPE)
WHOLE = Jitter(shift=4, crop=True, flip=True)


@pytest.mark.parametrize("both_ways", [False, True])
def test_one_shift_for_all_is_a_roll(both_ways: bool) -> None:
    part, seen = Jitter(shift=3, both_ways=both_ways), set()
    for key in range(200):
        draws = part.draw(Stream(key), SHAPE, None)
        assert set(draws) == {"rows", "columns"} and all(numbers.shape == () for numbers in draws.values())
        rows, columns = int(draws["rows"]), int(draws["columns"])
        seen.add((rows, columns))
        if key < 20:
            assert torch.equal(part.apply(IMAGES, draws), torch.roll(IMAGES, (rows, columns), (2, 3)))
    span = range(-3, 4) if both_ways else range(0, 4)
    assert {rows for rows, _ in seen} == {columns for _, columns in seen} == set(span)
    assert any(rows != columns for rows, columns in seen)


@pytest.mark.parametrize("part", [Jitter(shift=4, both_ways=True), WHOLE])
def test_each_image_has_draws_of_its_own_if_asked_for(part: Jitter) -> None:
    draws = part.draw(Stream(3), SHAPE, 5)
    assert all(len(numbers) == 5 for numbers in draws.values())
    assert len(set(draws["rows"].tolist())) > 1
    alone = [
        part.apply(IMAGES[place : place + 1], {name: numbers[place] for name, numbers in draws.items()})
        for place in range(5)
    ]
    torch.testing.assert_close(part.apply(IMAGES, draws), torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_the_window_is_torchvision_s_then_comes_the_mirror_then_the_shift() -> None:
    mirrored = set()
    for key in range(12):
        draws = WHOLE.draw(Stream(key), SHAPE, None)
        top, left, height, width = draws["window"].tolist()
        wanted = torchvision_crop(
            IMAGES, top, left, height, width, list(SHAPE[1:]), InterpolationMode.BILINEAR, antialias=False
        )
        flipped = bool(draws["flip"] < 0.5)
        mirrored.add(flipped)
        wanted = torch.roll(hflip(wanted) if flipped else wanted, (int(draws["rows"]), int(draws["columns"])), (2, 3))
        torch.testing.assert_close(WHOLE.apply(IMAGES, draws), wanted, rtol=1e-9, atol=1e-9)
    assert mirrored == {True, False}


def test_windows_are_of_8_to_100_percent_and_3_to_4() -> None:
    window = replace(WHOLE, flip=False).draw(Stream(1), (3, 224, 224), 4000)["window"].double()
    share = window[:, 2] * window[:, 3] / 224**2
    shape = window[:, 3] / window[:, 2]
    assert share.min() < 0.1 and share.max() > 0.95 and share.min() > 0.075
    assert shape.min() == pytest.approx(0.75, abs=0.03) and shape.max() == pytest.approx(4 / 3, abs=0.03)


def test_what_is_off_is_neither_drawn_nor_done() -> None:
    still = Jitter(shift=0)
    draws = still.draw(Stream(0), SHAPE, None)
    assert torch.equal(still.apply(IMAGES, draws), IMAGES)
    # A window that is asked for as well leaves the shifts' range alone.
    assert set(replace(still, crop=True).draw(Stream(0), SHAPE, None)) == {"window", "rows", "columns"}
    assert set(replace(still, flip=True).draw(Stream(0), SHAPE, None)) == {"flip", "rows", "columns"}


@pytest.mark.parametrize("batch", [None, 2])
def test_gradients(batch: int | None) -> None:
    draws = WHOLE.draw(Stream(4), (2, 6, 5), batch)
    x = Stream(1).normal(2, 2, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: WHOLE.apply(x, draws), x)


@pytest.mark.parametrize("shift", [-1, 10, 12])
def test_a_shift_must_be_smaller_than_the_image(shift: int) -> None:
    Jitter(shift=9).fits(SPEC)
    with pytest.raises(InputError, match=f"images of 12 x 10 by up to {shift} pixels; choose a shift of 0 or more"):
        Jitter(shift=shift).fits(SPEC)
