"""Trainings kept on their way: a file with a checksum that a training which was stopped goes on from, in the same bits.

What is kept on its way may be deleted at any time, and a damaged file counts as none.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.core.errors import RunError
from limbeck.core.network import Weights
from limbeck.storage.tree import load_tree, save_tree
from limbeck.storage.weights import checksum

__all__ = ["KEEPING", "UNFINISHED", "Halfway", "only_warned"]

KEEPING = 120.0
"""Seconds of training after which it is kept on its way."""
UNFINISHED = ".unfinished"
"""Ending of the file of a training on its way."""


class Halfway:
    """A training that is kept on its way in one file, every `KEEPING` seconds.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = time.monotonic()

    def keep_if_due(self, state: Mapping[str, Any]) -> None:
        """Write the state with its checksum, for `kept`, if it is time; a disk that is full or locked is warned of.

        Args:
            state: a tree of dicts, lists, tensors and numbers.
        """
        if time.monotonic() - self._written >= KEEPING:
            self.keep(state)

    def keep(self, state: Mapping[str, Any]) -> None:
        """The same, now.

        Args:
            state: a tree of dicts, lists, tensors and numbers.
        """
        if self._path is None:
            return
        with only_warned(self._path.parent):
            tree = dict(state)
            save_tree(self._path, {"state": tree, "checksum": checksum(_flat(tree))})
        self._written = time.monotonic()

    def pause(self, pause: Callable[[], None], state: Mapping[str, Any]) -> None:
        """Ask whether to go on; where somebody wants to stop, the state is kept first.

        Args:
            pause: see `Context.pause`.
            state: a tree of dicts, lists, tensors and numbers.

        Raises:
            Interrupted: somebody asked to stop.
        """
        try:
            pause()
        except BaseException:
            self.keep(state)
            raise

    def kept(self, device: torch.device, like: Mapping[str, Any]) -> dict[str, Any] | None:
        """The state that was written last; None where there is none, or one that is damaged or of another training.

        Args:
            device: where its tensors go.
            like: trees of the state that must have these names, shapes and types.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            tree = load_tree(self._path, device)
            state: dict[str, Any] = tree["state"]
            if tree["checksum"] != checksum(_flat(state)):
                return None
            return state if all(_shapes(state[name]) == _shapes(like[name]) for name in like) else None
        except (RunError, KeyError, TypeError, ValueError):
            return None

    def remove(self) -> None:
        """The training is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def only_warned(folder: Path) -> Iterator[None]:
    """A disk that is full or locked costs the next run its time, this one nothing."""
    try:
        yield
    except OSError as error:
        warnings.warn(
            f"trained networks could not be kept in '{folder}' ({error}); set network_cache (--network-cache) to "
            "another folder",
            stacklevel=4,
        )


def _flat(tree: Any, path: str = "") -> Weights:
    """The tensors of a tree by their path, and its numbers as tensors."""
    if isinstance(tree, dict):
        return {name: one for key, value in tree.items() for name, one in _flat(value, f"{path}/{key}").items()}
    if isinstance(tree, (list, tuple)):
        return _flat({str(place): value for place, value in enumerate(tree)}, path)
    return {path: tree if isinstance(tree, torch.Tensor) else torch.tensor(tree)}


def _shapes(tree: Any) -> Any:
    """The tree with the shape and type of every tensor in its place, and of numbers only that they are some."""
    if isinstance(tree, dict):
        return [(name, _shapes(value)) for name, value in tree.items()]
    return (tuple(tree.shape), tree.dtype) if isinstance(tree, torch.Tensor) else type(tree)
