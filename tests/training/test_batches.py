from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Streams
from limbeck.training.batches import epoch_batch, repeated


@pytest.mark.parametrize(("count", "batch", "per_epoch"), [(12, 4, 3), (11, 4, 2), (4, 4, 1), (3, 8, 1)])
def test_epochs_visit_every_item_at_most_once(count: int, batch: int, per_epoch: int) -> None:
    streams = Streams(0)
    size = min(batch, count)
    for epoch in range(3):
        numbers = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        seen = torch.cat([epoch_batch(streams, "x", count, batch, number) for number in numbers])
        assert len(seen) == per_epoch * size == len(set(seen.tolist()))
        assert torch.equal(seen, streams("x", epoch).permutation(count)[: per_epoch * size])


def test_keys_give_walks_of_their_own() -> None:
    streams = Streams(0)
    walks = {
        tuple(epoch_batch(streams, name, 20, 20, 0, *keys).tolist()) for name in ("x", "y") for keys in ((), (0,), (1,))
    }
    # "x" at epoch 0 is the stream ("x", 0); with a key 0 before it, ("x", 0, 0).
    assert len(walks) == 6


def test_rows_are_repeated_from_the_beginning() -> None:
    rows = torch.tensor([5, 6, 7])
    assert repeated(rows, 2).tolist() == [5, 6]
    assert repeated(rows, 3).tolist() == [5, 6, 7]
    assert repeated(rows, 7).tolist() == [5, 6, 7, 5, 6, 7, 5]
