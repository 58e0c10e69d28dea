from __future__ import annotations

from typing import Any

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops import transforms

SHAPE = (3, 8, 8)
EVERYTHING = ("flip", "color", "crop", "scale", "rotate", "translate", "cutout")
KEYS = {
    "crop": ["crop_rows", "crop_columns"],
    "translate": ["translate"],
    "scale": ["scale_x", "scale_y"],
    "rotate": ["rotate"],
}


def images(count: int = 4) -> torch.Tensor:
    return Stream(9).normal(count, *SHAPE)


def by_hand(x: torch.Tensor, draws: dict[str, torch.Tensor]) -> torch.Tensor:
    if "flip" in draws:
        x = transforms.flip(x, draws["flip"])
    if "brightness" in draws:
        x = transforms.brightness(x, draws["brightness"])
        x = transforms.saturation(x, draws["saturation"])
        x = transforms.contrast(x, draws["contrast"])
    if "crop_rows" in draws:
        x = transforms.crop(x, draws["crop_rows"], draws["crop_columns"])
    if "translate" in draws:
        x = transforms.crop(x, torch.zeros_like(draws["translate"]), draws["translate"])
    if "scale_x" in draws:
        x = transforms.scale(x, draws["scale_x"], draws["scale_y"])
    if "rotate" in draws:
        x = transforms.rotate(x, draws["rotate"])
    if "cutout_rows" in draws:
        x = transforms.cutout(x, draws["cutout_rows"], draws["cutout_columns"])
    return x


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("operations", [EVERYTHING, ("color", "crop", "cutout"), *[(name,) for name in EVERYTHING]])
def test_apply_equals_the_operations_by_hand(operations: tuple[Any, ...], batch: int | None) -> None:
    augmentation = IDCAugment(operations=operations)
    for seed in range(8):
        draws = augmentation.draw(Stream(seed), SHAPE, batch)
        assert torch.equal(augmentation.apply(images(), draws), by_hand(images(), draws))


def test_draws_come_in_the_order_of_the_operations() -> None:
    draws = IDCAugment(operations=("color", "crop", "cutout")).draw(Stream(3), SHAPE, 5)
    again = Stream(3)
    expected = {name: again.uniform(5) for name in ("brightness", "saturation", "contrast")}
    assert again.integers(0, 0).item() == 0  # which of one operation
    expected["crop_rows"], expected["crop_columns"] = again.integers(-1, 1, 5), again.integers(-1, 1, 5)
    expected["cutout_rows"], expected["cutout_columns"] = again.integers(0, 8, 5), again.integers(0, 8, 5)
    assert list(draws) == list(expected)
    assert all(torch.equal(draws[name], expected[name]) for name in expected)


def test_one_geometric_operation_is_drawn_and_each_as_often() -> None:
    augmentation = IDCAugment(operations=EVERYTHING)
    counts = dict.fromkeys(KEYS, 0)
    for seed in range(800):
        draws = augmentation.draw(Stream(seed), SHAPE, None)
        geometric = list(draws)[4:-2]
        assert list(draws)[:4] == ["flip", "brightness", "saturation", "contrast"]
        assert list(draws)[-2:] == ["cutout_rows", "cutout_columns"]
        counts[next(name for name, keys in KEYS.items() if keys == geometric)] += 1
    assert all(150 < count < 250 for count in counts.values())


def test_shared_draws_treat_all_images_alike() -> None:
    augmentation = IDCAugment(operations=EVERYTHING)
    for seed in range(6):
        draws = augmentation.draw(Stream(seed), SHAPE, None)
        assert all(numbers.shape == () for numbers in draws.values())
        whole = augmentation.apply(images(), draws)
        torch.testing.assert_close(torch.cat([augmentation.apply(some, draws) for some in images().split(1)]), whole)


def test_private_draws_treat_every_image_by_its_own() -> None:
    augmentation = IDCAugment(operations=EVERYTHING)
    for seed in range(6):
        draws = augmentation.draw(Stream(seed), SHAPE, 4)
        assert all(numbers.shape == (4,) for numbers in draws.values())
        whole = augmentation.apply(images(), draws)
        for row in range(4):
            own = {name: numbers[row] for name, numbers in draws.items()}
            torch.testing.assert_close(augmentation.apply(images()[row : row + 1], own)[0], whole[row])


def test_rectangular_images_shift_by_their_own_sides() -> None:
    augmentation = IDCAugment(operations=("crop", "cutout"))
    draws = augmentation.draw(Stream(0), (1, 8, 32), 2000)
    assert (draws["crop_rows"].abs().max(), draws["crop_columns"].abs().max()) == (1, 4)
    assert (draws["cutout_rows"].max(), draws["cutout_columns"].max()) == (8, 32)


def test_nothing_listed_changes_nothing() -> None:
    augmentation = IDCAugment(operations=())
    assert augmentation.draw(Stream(0), SHAPE, None) == {}
    assert augmentation.apply(images(), {}) is not None
    assert torch.equal(augmentation.apply(images(), {}), images())


def test_gradients_flow_through() -> None:
    augmentation = IDCAugment(operations=("color", "rotate", "cutout"))
    draws = augmentation.draw(Stream(0), SHAPE, None)
    assert torch.autograd.gradcheck(lambda x: augmentation.apply(x, draws), images(1).requires_grad_())


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown operation of augmentation 'idc_augment' 'rotat'; did you mean"):
        IDCAugment(operations=("color", "rotat")).draw(Stream(0), SHAPE, None)  # type: ignore[arg-type]
