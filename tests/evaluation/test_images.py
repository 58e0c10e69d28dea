"""Training images of a set are the same numbers however they are kept; 8 bits stay 8 bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.evaluation.images import Levels, RealImages, Rows, images_of
from limbeck.methods.random import random
from limbeck.methods.sre2l import sre2l
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain

CPU = torch.device("cpu")
ROWS = torch.tensor([3, 0, 3, 19])


@pytest.fixture
def made(digits: Data) -> Distilled:
    return Distilled(Stream(0).uniform(10, 2, 1, 8, 8).float(), digits.spec, random(), seed=0)


def test_eight_bits_stay_and_are_the_numbers_that_they_stand_for(made: Distilled) -> None:
    small = made.stored_as("uint8")
    found = images_of(small, CPU)
    assert (
        isinstance(found, Levels) and found.images.dtype == torch.uint8 and found.images.numel() == made.stored.numel()
    )
    expected = small.spec.normalization.apply(small.decoded()[0])[ROWS]
    assert torch.equal(found(ROWS), expected) and found(ROWS).dtype == torch.float32
    kept = images_of(replace(small, stored=small.values(small.stored), storage="float32"), CPU)
    assert isinstance(kept, Rows) and torch.equal(kept(ROWS), expected)


def test_eight_bits_of_normalized_space(made: Distilled) -> None:
    recipe = sre2l("digits").with_(parametrization=Plain(space="normalized"))
    stored = made.spec.normalization.apply(made.stored)
    small = replace(made, stored=stored, recipe=recipe).stored_as("uint8")
    found = images_of(small, CPU)
    assert isinstance(found, Levels)
    assert torch.equal(found(ROWS), small.values(small.stored).flatten(0, 1)[ROWS])


def test_what_is_decoded_or_whitened_is_kept_as_numbers(made: Distilled, whitened: Data) -> None:
    partitioned = replace(made, recipe=random().with_(parametrization=Partition(factor=2))).stored_as("uint8")
    found = images_of(partitioned, CPU)
    assert isinstance(found, Rows) and len(found.images) == 4 * 20
    of_whitened = replace(made, spec=whitened.spec).stored_as("uint8")
    assert isinstance(images_of(of_whitened, CPU), Rows)


def test_real_images_are_normalized(digits: Data) -> None:
    expected = digits.spec.normalization.apply(digits.train.images(ROWS))
    assert torch.equal(RealImages(digits.train)(ROWS), expected)
