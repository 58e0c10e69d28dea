from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.evaluation.migration import migration
from limbeck.methods.idc import idc
from limbeck.networks import build


@pytest.fixture
def distilled(digits: Data) -> Distilled:
    stored = Streams(0)("images").uniform(10, 1, 1, 8, 8).float()
    return Distilled(stored, digits.spec, idc("digits", factor=1), 0)


def test_images_that_stay_do_not_move_and_one_that_moves_counts_by_their_number(distilled: Distilled) -> None:
    moved = distilled.stored.clone()
    moved[3] = 1 - moved[3]
    found = migration([distilled, distilled, replace(distilled, stored=moved)], seed=4)
    assert found[0] == 0.0
    spec, network = distilled.spec, build("convnet3", distilled.spec)
    weights = network.initial(Streams(4)("network of migration"))
    seen = [network(weights, spec.normalization.apply(one[3]), "embedding") for one in (distilled.stored, moved)]
    assert isinstance(seen[0], torch.Tensor) and isinstance(seen[1], torch.Tensor)
    assert found[1] == pytest.approx(float((seen[1] - seen[0]).norm()) / 10, rel=1e-5)
    assert migration([distilled, replace(distilled, stored=moved)], seed=5)[0] != found[1]


def test_a_single_state_has_moved_nowhere(distilled: Distilled) -> None:
    assert migration([distilled]) == []


def test_what_networks_see_of_packed_images_is_compared(distilled: Distilled) -> None:
    packed = replace(distilled, recipe=idc("digits", factor=2))
    moved = packed.stored.clone()
    moved[:, :, :, :4, :4] = 0  # one of the four images of each
    (quarter,), (all_of_it,) = (
        migration([packed, replace(packed, stored=stored)]) for stored in (moved, torch.zeros_like(moved))
    )
    assert 0 < quarter < 0.5 * all_of_it
