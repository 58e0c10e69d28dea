"""How a run is carried out: nothing here changes its result beyond rounding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings

__all__ = ["ProgressMode", "Settings"]

ProgressMode = Literal["auto", "rich", "plain", "jsonl", "quiet"]


@dataclass(frozen=True, kw_only=True)
class Settings(ExecutionSettings):
    """Where and how a run computes, and how it reports."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU when there is one."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating point type of images and weights; float64 is for checking formulas."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints; 0 writes one after every inner step."""
    progress: ProgressMode = "auto"
    """Progress on standard error: a live bar, a plain line a minute, JSON lines, or nothing; auto looks whether it is
    a terminal."""
    class_block: int = 10
    """Classes whose real batches are in memory at once."""
    blocks: Literal["auto", "loop", "concat", "vmap"] = "auto"
    """How the classes of a block are matched: one by one, in one forward pass with gradients class by class, or
    vectorized; auto: what was fastest on this kind of device."""

    processes: int = 1
    """Groups of images that are learnt apart, and the experts of 'limbeck experts', are computed by so many processes;
    nothing changes in the result. Each has as many threads as one alone (OMP_NUM_THREADS)."""

    snapshots: int = 0
    """How many intermediate states of the images are kept beside the result, evenly spread over the run from the
    initial images on; to see how accuracy grows."""

    watch: int = 0
    """How many times along the run it is looked at which real images were sampled, evenly spread: how far they are from
    their class, and how strongly they pull at the network. Changes nothing in the result."""

    network_cache: bool | Path = True
    """Keep networks that are trained before a run in $LIMBECK_CACHE or ~/.cache/limbeck (True), in this folder, or
    nowhere (False); a run that needs the same ones takes them from there."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        super().__post_init__()
        if self.class_block < 1:
            raise InputError(f"class_block (--class-block) must be at least 1, not {self.class_block}.")
        if self.processes < 1:
            raise InputError(f"processes (--processes) must be at least 1, not {self.processes}.")
        if self.snapshots < 0:
            raise InputError(f"snapshots (--snapshots) must be 0 or more, not {self.snapshots}.")
        if self.watch < 0:
            raise InputError(f"watch (--watch) must be 0 or more, not {self.watch}.")
        if not self.checkpoint_minutes >= 0:
            raise InputError(
                f"checkpoint_minutes (--checkpoint-minutes) must be 0 or more, not {self.checkpoint_minutes}."
            )

    def torch_device(self) -> torch.device:
        """The device to use.

        Raises:
            InputError: cuda is asked for and there is none.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise InputError("device 'cuda' was asked for, but PyTorch sees no GPU here; use --device cpu.")
        if self.device == "auto":
            return torch.device("cuda" if available else "cpu")
        return torch.device(self.device)

    def torch_dtype(self) -> torch.dtype:
        """The floating point type to use."""
        return torch.float64 if self.dtype == "float64" else torch.float32
