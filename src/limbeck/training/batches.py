"""Batches by number: shuffled epochs that need no memory of where they are."""

from __future__ import annotations

from torch import Tensor

from limbeck.core.streams import Streams

__all__ = ["epoch_batch", "repeated"]


def epoch_batch(streams: Streams, name: str, count: int, batch: int, number: int, *keys: int) -> Tensor:
    """Batch ``number`` of an endless walk through ``0 .. count - 1`` in shuffled epochs.

    Every epoch is a fresh order; its incomplete last batch is dropped. The batch follows from its number alone, so
    nothing needs to be remembered between calls.

    Args:
        streams: the run's random streams.
        name: the stream's name.
        count: how many items there are.
        batch: items per batch; all items when there are fewer.
        number: which batch, from 0.
        *keys: further keys of the stream, before the epoch's number.

    Returns:
        int64 ``[min(batch, count)]``.
    """
    size = min(batch, count)
    per_epoch = count // size
    epoch, position = divmod(number, per_epoch)
    order = streams(name, *keys, epoch).permutation(count)
    return order[position * size : (position + 1) * size]


def repeated(rows: Tensor, count: int) -> Tensor:
    """The first ``count`` of rows ``[n]``, from the beginning again when they run out."""
    return rows.repeat(-(-count // len(rows)))[:count]
