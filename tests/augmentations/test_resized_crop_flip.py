from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream

SHAPE = (3, 24, 24)
AUGMENT = ResizedCropFlip()
NORMAL = Normalization((0.5,) * 3, (0.25,) * 3)
SPEC = DataSpec("pictures", *SHAPE, ("a", "b"), NORMAL, "")


@pytest.mark.parametrize("antialias", [False, True])
def test_it_equals_torchvision_on_the_same_windows(antialias: bool) -> None:
    x = Stream(0).uniform(30, *SHAPE)
    draws = AUGMENT.draw(Stream(1), SHAPE, len(x))
    done = AUGMENT.apply(NORMAL.apply(x), draws)  # enlarging commutes with a change of each channel
    assert 0 < (draws["flip"] < 0.5).sum() < 30
    for row, image in enumerate(x):
        top, left, tall, broad = draws["window"][row].tolist()
        expected = reference.resized_crop(image, top, left, tall, broad, list(SHAPE[1:]), antialias=antialias)
        if draws["flip"][row] < 0.5:
            expected = reference.horizontal_flip(expected)
        torch.testing.assert_close(done[row], NORMAL.apply(expected), rtol=0, atol=1e-11)


def test_windows_have_the_sizes_of_torchvision_s_defaults() -> None:
    window = ResizedCropFlip().draw(Stream(0), (3, 200, 200), 20_000)["window"]
    share = (window[:, 2] * window[:, 3]).double() / 40_000
    assert share.min() == pytest.approx(0.08, abs=0.002) and share.max() == pytest.approx(1.0, abs=0.02)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    torchvision = RandomResizedCrop(200)
    image = torch.zeros(3, 200, 200)
    drawn = [RandomResizedCrop.get_params(image, torchvision.scale, torchvision.ratio) for _ in range(5_000)]
    torch.set_rng_state(state)
    theirs = torch.tensor([tall * broad / 40_000 for _, _, tall, broad in drawn])
    assert share.mean() == pytest.approx(float(theirs.mean()), abs=0.02)
    assert share.std() == pytest.approx(float(theirs.std()), abs=0.02)
    logarithm = (window[:, 3].double() / window[:, 2]).log()
    assert logarithm.mean() == pytest.approx(0.0, abs=0.01)


def test_one_draw_may_be_shared_and_what_is_off_is_not_done() -> None:
    x = Stream(0).normal(4, *SHAPE)
    draws = AUGMENT.draw(Stream(2), SHAPE, None)
    assert {name: tuple(numbers.shape) for name, numbers in draws.items()} == {"window": (4,), "flip": ()}
    torch.testing.assert_close(AUGMENT.apply(x, draws), torch.cat([AUGMENT.apply(one, draws) for one in x.split(1)]))
    nothing = replace(AUGMENT, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)
    draws = nothing.draw(Stream(0), SHAPE, 4)
    assert set(draws) == {"window"}
    torch.testing.assert_close(nothing.apply(x, draws), x)


def test_gradients() -> None:
    x = Stream(0).normal(2, 3, 5, 5).requires_grad_()
    draws = AUGMENT.draw(Stream(0), (3, 5, 5), 2)
    assert torch.autograd.gradcheck(lambda x: AUGMENT.apply(x, draws), x)


@pytest.mark.parametrize("wrong", [{"scale": (0.0, 1.0)}, {"scale": (0.5, 1.5)}, {"ratio": (2.0, 1.0)}])
def test_fields_out_of_range(wrong: dict[str, tuple[float, float]]) -> None:
    AUGMENT.fits(SPEC)
    with pytest.raises(InputError, match="'resized_crop_flip' needs 0 < scale"):
        replace(AUGMENT, **wrong).fits(SPEC)  # type: ignore[arg-type]
