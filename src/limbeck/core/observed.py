"""What batch norm is given: mean and variance of the inputs of every layer, in the pass that makes the logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["Statistics", "Witness", "batch_norms"]

Statistics = tuple[Tensor, Tensor]
"""Mean and biased variance of each channel of a batch, ``[C]`` each."""


def batch_norms(module: nn.Module) -> tuple[tuple[str, nn.modules.batchnorm._BatchNorm], ...]:
    """Layers of batch norm that images pass, with their names, in the order of registration.

    A module that only keeps layers which nobody calls says so by an attribute ``unused``.
    """
    parts = dict(module.named_modules())
    unused = tuple(f"{name}." for name, part in parts.items() if getattr(part, "unused", False))
    return tuple(
        (name, part)
        for name, part in parts.items()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not name.startswith(unused)
    )


class Witness:
    """Looks at what batch norm layers of a module are given, channels on axis 1, while a pass asks for it.

    Args:
        module: whose layers get a hook.
    """

    def __init__(self, module: nn.Module) -> None:
        self._seen: dict[int, Statistics] | None = None
        for index, (_, part) in enumerate(batch_norms(module)):
            part.register_forward_pre_hook(_Hook(self, index))

    def begin(self) -> None:
        """From now on, note what is seen."""
        self._seen = {}

    def end(self) -> tuple[Statistics, ...]:
        """What was seen of each layer, in the order of registration."""
        seen, self._seen = self._seen or {}, None
        return tuple(seen[index] for index in sorted(seen))

    def note(self, index: int, x: Tensor) -> None:
        """Take statistics over all axes but that of the channels."""
        if self._seen is not None:
            axes = [axis for axis in range(x.ndim) if axis != 1]
            mean = x.mean(axes, keepdim=True)
            # Two sums are faster in a compiled program than one pass that updates both.
            self._seen[index] = (mean.flatten(), (x - mean).square().mean(axes))


class _Hook:
    """Tells the witness which layer was given what."""

    def __init__(self, witness: Witness, index: int) -> None:
        self._witness, self._index = witness, index

    def __call__(self, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._witness.note(self._index, inputs[0])
