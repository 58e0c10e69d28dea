from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.transforms import RandomCrop
from torchvision.transforms.v2 import functional as reference

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.core.context import Context
from limbeck.core.contracts import Pool
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.plan import plan
from limbeck.engine.settings import Settings
from limbeck.pools.pretrained import Pretrained
from limbeck.pools.semi_trained import SemiTrained
from limbeck.pools.to_plateau import ToPlateau
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from tests.engine.tiny import NETWORK, tiny_idc

SHAPE = (3, 10, 12)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
NORMAL = Normalization(MEAN, STD)
SPEC = DataSpec("pictures", *SHAPE, ("a", "b"), NORMAL, "")
AUGMENT = CropFlip().bound(SPEC)


def test_it_equals_torchvision_on_pictures_before_normalization() -> None:
    x = Stream(0).uniform(40, *SHAPE)
    draws = AUGMENT.draw(Stream(1), SHAPE, len(x))
    done = AUGMENT.apply(NORMAL.apply(x), draws)
    for row, image in enumerate(x):
        padded = reference.pad(image, [4, 4], fill=0)
        top, left = int(draws["rows"][row]) + 4, int(draws["columns"][row]) + 4
        expected = reference.crop(padded, top, left, *SHAPE[1:])
        if draws["flip"][row] < 0.5:
            expected = reference.horizontal_flip(expected)
        torch.testing.assert_close(done[row], reference.normalize(expected, list(MEAN), list(STD)), rtol=0, atol=1e-12)


def test_shifts_are_those_that_torchvision_draws() -> None:
    draws = AUGMENT.draw(Stream(0), SHAPE, 9_000)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    image = torch.zeros(3, 18, 20)  # padded
    theirs = torch.tensor([RandomCrop.get_params(image, SHAPE[1:])[:2] for _ in range(9_000)]) - 4
    torch.set_rng_state(state)
    for ours, other in ((draws["rows"], theirs[:, 0]), (draws["columns"], theirs[:, 1])):
        counts = [torch.bincount(shifts + 4, minlength=9) for shifts in (ours, other)]
        assert all(len(some) == 9 and ((some - 1000).abs() < 150).all() for some in counts)
    assert (draws["flip"] < 0.5).double().mean() == pytest.approx(0.5, abs=0.03)


def test_digits_are_not_mirrored_and_draws_may_be_shared() -> None:
    x = Stream(0).normal(4, *SHAPE)
    plain = replace(AUGMENT, flip=False)
    assert set(plain.draw(Stream(0), SHAPE, 4)) == {"rows", "columns"}
    draws = AUGMENT.draw(Stream(3), SHAPE, None)
    assert all(numbers.shape == () for numbers in draws.values())
    torch.testing.assert_close(AUGMENT.apply(x, draws), torch.cat([AUGMENT.apply(one, draws) for one in x.split(1)]))
    still = replace(plain, padding=0)
    assert torch.equal(still.apply(x, still.draw(Stream(0), SHAPE, 4)), x)


def test_gradients() -> None:
    x = Stream(0).normal(2, 3, 4, 5).requires_grad_()
    draws = AUGMENT.draw(Stream(0), (3, 4, 5), 2)
    assert torch.autograd.gradcheck(lambda x: AUGMENT.apply(x, draws), x)


def test_what_black_is_must_be_known() -> None:
    with pytest.raises(InputError, match="needs mean and std of each of 3 channels"):
        CropFlip().draw(Stream(0), SHAPE, 4)
    CropFlip().fits(SPEC)
    AUGMENT.fits(SPEC)
    with pytest.raises(InputError, match="another normalization than that of 'pictures'; leave its mean and std empty"):
        CropFlip(mean=MEAN, std=(0.1,) * 3).fits(SPEC)
    with pytest.raises(InputError, match="needs 0 <= padding <= 10"):
        CropFlip(padding=11).fits(SPEC)


def test_it_is_refused_before_a_run(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="leave its mean and std empty"):
        CropFlip(mean=(0.0,), std=(2.0,)).check(context_of())


POOLS = {
    "trained on real": TrainedOnReal(network=NETWORK, samples=8),
    "trained on synthetic": TrainedOnSynthetic(network=NETWORK, epochs=1),
    "semi-trained": SemiTrained(network=NETWORK, begin=1, steps=1, trained=1),
    "to plateau": ToPlateau(network=NETWORK, window=2, images=4, most_epochs=1),
    "pretrained": Pretrained(network=NETWORK, epochs=1),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_parts_of_a_run_let_it_know_what_black_is(digits: Data, tmp_path: Path, pool: Pool) -> None:
    shifted = CropFlip(padding=1, flip=False)
    recipe = tiny_idc(iterations=1, steps=2).with_(pool=pool, pool__training__augmentation=shifted)
    settings = Settings(progress="quiet", device="cpu")
    context = make_context(recipe, digits, 1, 0, settings)
    assert plan(recipe, context, tmp_path).steps == 2
    one = distill(recipe, digits, ipc=1, settings=settings).stored
    matched = distill(recipe.with_(augmentation=shifted), digits, ipc=1, settings=settings).stored
    assert torch.isfinite(one).all() and not torch.equal(one, matched)


def test_a_black_border_is_refused_where_black_is_no_number(whitened: Data) -> None:
    with pytest.raises(InputError, match="images of 'digits' are whitened, where black is no number; set its padding"):
        CropFlip(padding=1).fits(whitened.spec)
    CropFlip(padding=0).fits(whitened.spec)
