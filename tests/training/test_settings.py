from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.plain import completed, decode_dataclass, encode
from limbeck.core.streams import Streams
from limbeck.ops import cutmix
from limbeck.pools.semi_trained import SemiTrained
from limbeck.pools.to_plateau import ToPlateau
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from limbeck.training.settings import Mix, Training

SHAPE = (1, 8, 8)


def test_mixup_is_drawn_for_every_batch_by_its_position() -> None:
    training, streams = Training(mixup=0.8), Streams(3)
    mixes = [training.draw(streams, SHAPE, 6, number).mix for number in range(800)]
    shares = torch.tensor([mix.share for mix in mixes if mix is not None], dtype=torch.float64)
    assert len(shares) == 800 and all(mix is not None and mix.box is None for mix in mixes)
    assert all(mix is not None and sorted(mix.partner.tolist()) == list(range(6)) for mix in mixes)
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(shares.var()) == pytest.approx(1 / (4 * 2.6), rel=0.1)
    again, other = training.draw(streams, SHAPE, 6, 5).mix, training.draw(streams, SHAPE, 6, 6).mix
    assert again is not None and other is not None and mixes[5] is not None
    assert again.share == mixes[5].share and again.share != other.share


def test_a_batch_is_seen_augmented_then_mixed() -> None:
    training, streams = Training(mixup=1.0, augmentation=IDCAugment(operations=("crop",))), Streams(0)
    images = streams("x").normal(5, *SHAPE)
    draws = training.draw(streams, SHAPE, 5, 0)
    assert training.augmentation is not None and draws.mix is not None
    moved = training.augmentation.apply(images, draws.augmentation)
    share, partner = draws.mix.share, draws.mix.partner
    torch.testing.assert_close(training.seen(images, draws), share * moved + (1 - share) * moved[partner])
    assert draws.mix.ratio(8, 8) == share
    box = Mix(partner, (1, 4, 2, 7))
    assert torch.equal(box.apply(images), cutmix.mix(images, partner, (1, 4, 2, 7)))
    assert box.ratio(8, 8) == cutmix.ratio((1, 4, 2, 7), 8, 8)


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        (Training(mixup=0.8, cutmix=1.0), "mixes a batch by mixup or by CutMix, not both"),
        (Training(mixup=-1.0), "needs 0 <= betas < 1 and mixup >= 0"),
        (Training(betas=(0.9, 1.0)), "needs 0 <= betas < 1 and mixup >= 0"),
        (Training(optimizer="adamw", nesterov=True), "cannot look ahead with adamw"),
        (Training(momentum=0.0, nesterov=True), "no momentum to look ahead with"),
        (Training(lr=0.0), "needs lr > 0"),
    ],
)
def test_what_cannot_be_is_refused(training: Training, sentence: str) -> None:
    with pytest.raises(InputError, match=f"training of pool 'x' .*{sentence}|{sentence}"):
        training.check("pool 'x'")


def test_run_files_of_before_are_read_as_what_was_done_then() -> None:
    plain = encode(Training(lr=0.1))
    old = {name: plain[name] for name in ("lr", "momentum", "weight_decay", "batch_size", "augmentation", "cutmix")}
    assert decode_dataclass(Training, old, "training") == Training(lr=0.1)
    assert completed(old, Training()) == plain


def test_the_augmentation_learns_what_black_is(context_of: Callable[..., Context]) -> None:
    spec = context_of().spec
    bound = Training(augmentation=CropFlip(flip=False)).bound(spec)
    assert bound.augmentation == CropFlip(flip=False, mean=spec.normalization.mean, std=spec.normalization.std)
    for same in (Training(), Training(augmentation=IDCAugment())):
        assert same.bound(spec) == same


def test_what_an_optimizer_remembers_is_counted() -> None:
    assert (Training().copies, Training(optimizer="adamw").copies) == (2, 3)
    pool = SemiTrained(most=10)
    assert pool.copies() == 20
    for kind in (TrainedOnReal, TrainedOnSynthetic, ToPlateau):
        assert kind().copies() == 2 and kind(training=Training(optimizer="adamw")).copies() == 3


def test_whether_images_are_mixed() -> None:
    plain = Training()
    assert not plain.mixes and replace(plain, mixup=0.2).mixes and replace(plain, cutmix=0.5).mixes
