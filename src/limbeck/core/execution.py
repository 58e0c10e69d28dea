"""How steps are computed: nothing here changes a result beyond rounding."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
import shutil
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from limbeck.core.errors import InputError

__all__ = [
    "Allocator",
    "Blocks",
    "Execution",
    "ExecutionSettings",
    "Precision",
    "Program",
    "can_compile",
    "use_allocator",
]

Precision = Literal["float32", "bfloat16"]
Blocks = Literal["loop", "concat", "vmap"]
Allocator = Literal["default", "keep"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the steps of a run are computed on its device; part of the run record, never of a recipe.

    Args:
        compile: whether steps are compiled whole; one that cannot be runs eagerly.
        precision: number format of convolutions; all else stays in the run's own dtype.
        blocks: how the classes of a block are gone through: one after the other, in one forward pass with gradients
            class by class, or vectorized.
        microbatch: most real images in one pass where a step sums over images; 0 for all at once.
        allocator: whether memory that was freed goes back to the system or is kept for the next step.
        together: networks of one architecture that are trained side by side, in one program; 1 for one after another.
    """

    compile: bool = False
    precision: Precision = "float32"
    blocks: Blocks = "loop"
    microbatch: int = 0
    allocator: Allocator = "default"
    together: int = 1

    @property
    def functional(self) -> bool:
        """Whether gradients are taken by function transforms, which compiling and vectorizing need."""
        return self.compile or self.blocks == "vmap" or self.together > 1


_NO_MAPPINGS, _NEVER_TRIM = -4, -1
"""M_MMAP_MAX and M_TRIM_THRESHOLD of glibc's malloc.h."""
_PAYS = {"cpu": 1.5e12, "cuda": 1.5e15}
"""FLOPs from which on compiling takes less time than it saves, by device."""
_MICROBATCH = {"cpu": 32, "cuda": 0}
"""Images of a compiled pass, by device: what fits the caches of a CPU; a GPU is not filled by less than all."""
_TOGETHER = {"cpu": 1, "cuda": 8}
"""Networks side by side, by device: slower than one after another on a CPU (measured); on a GPU, where small networks
wait for their launches, an estimate that was not measured yet."""


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """What may be asked for; what is left open is chosen for the device and the length of the work."""

    precision: Precision = "float32"
    """Number format of convolutions, float32 or bfloat16; statistics, losses and updates keep the run's own."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether steps are compiled; auto: if the work is long enough to pay for half a minute of compiling."""
    microbatch: int = -1
    """Most real images in one pass; 0: all at once, -1: what was fastest on this kind of device."""

    allocator: Allocator = "default"
    """``keep`` never gives freed memory back to the system, so that large activations are not mapped anew at every
    step: faster on a CPU, most of all eagerly, and the process stays as large as it ever was. Linux with glibc."""

    together: int | Literal["auto"] = "auto"
    """Networks of one architecture that an evaluation trains side by side, in one program; auto: one after another on a
    CPU, where that is faster, and 8 on a GPU. Architectures that cannot are trained one after another."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.microbatch < -1:
            raise InputError(
                f"microbatch (--microbatch) must be 0 (all at once), -1 (chosen) or a number of images, not "
                f"{self.microbatch}."
            )
        if self.together != "auto" and self.together < 1:
            raise InputError(f"together (--together) must be auto or at least 1, not {self.together}.")

    def resolve(
        self,
        device: torch.device,
        dtype: torch.dtype,
        flops: float,
        blocks: Blocks | Literal["auto"] = "auto",
        networks: int = 1,
    ) -> Execution:
        """What is done on a device for work of about ``flops`` floating point operations.

        The choice follows from the arguments alone, so that a run which is repeated or resumed makes it again.

        Args:
            device: where.
            dtype: floating point type of images and weights.
            flops: how much, about.
            blocks: how the classes of a block are computed; auto is the loop, the fastest on a CPU (a GPU was not
                measured yet).
            networks: of one architecture that are to be trained and may be so side by side.

        Raises:
            InputError: compiling is asked for and this machine cannot; or bfloat16 in a float64 run.
        """
        if self.precision == "bfloat16" and dtype == torch.float64:
            raise InputError("precision bfloat16 contradicts dtype float64; leave out --precision or --dtype.")
        if self.precision == "bfloat16" and blocks == "concat":
            raise InputError("--blocks concat computes in the run's own precision; use --blocks loop with bfloat16.")
        able = can_compile(device)
        if self.compile == "on" and not able:
            raise InputError(
                "steps cannot be compiled here, because there is no C++ compiler (or, on a GPU, no Triton); install "
                "one, or use --compile off."
            )
        pays = flops >= _PAYS.get(device.type, _PAYS["cpu"]) and dtype != torch.float64
        compiled = self.compile == "on" or (self.compile == "auto" and able and pays)
        size = self.microbatch
        if size < 0:
            size = _MICROBATCH.get(device.type, 0) if compiled else 0
        return Execution(
            compile=compiled,
            precision=self.precision,
            blocks="loop" if blocks == "auto" else blocks,
            microbatch=size,
            allocator=self.allocator,
            together=min(networks, _TOGETHER.get(device.type, 1) if self.together == "auto" else self.together),
        )


class Program:
    """A pure function of tensors that is compiled when it is first called, or runs eagerly if that fails.

    Args:
        function: takes and returns tensors in (nested) tuples, lists and dicts.
        name: what a warning calls it.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name
        _keep_some_memory()
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no GPU
        self._compiled: Callable[..., Any] | None = torch.compile(_own_code(function), fullgraph=True, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        if self._compiled is None:
            return self._function(*arguments)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own, about its insides
                return self._compiled(*arguments)
        except Exception as error:
            # Whatever is wrong with the arguments shows up again without the compiler.
            value = self._function(*arguments)
            self._compiled = None
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            warnings.warn(f"{self._name} could not be compiled and runs eagerly: {reason}", RuntimeWarning, 2)
            return value


def use_allocator(allocator: Allocator) -> None:
    """Make glibc keep what is freed, for this process from now on; ``default`` changes nothing.

    Raises:
        InputError: this system has another C library.
    """
    if allocator == "default":
        return
    try:
        library = ctypes.CDLL("libc.so.6")
        set_option = library.mallopt
    except (OSError, AttributeError) as error:
        raise InputError("allocator 'keep' needs Linux with glibc; leave out --allocator.") from error
    for option, value in ((_NO_MAPPINGS, 0), (_NEVER_TRIM, -1)):
        set_option(ctypes.c_int(option), ctypes.c_int(value))


@functools.cache
def _keep_some_memory() -> None:
    """Let glibc keep what a step frees for the next one, as far as it does so by itself.

    Its allocator learns from the largest block that was ever freed, up to 32 MiB, from which size on blocks are mapped
    anew and how much free memory it keeps. Without one, activations of some 20 MiB are given back and faulted in again
    at every step. One block that is freed unused teaches it that; elsewhere this does nothing.
    """
    torch.empty(2**25 - 2**12, dtype=torch.uint8)


def can_compile(device: torch.device) -> bool:
    """Whether this machine has what `torch.compile` needs: a C++ compiler, or Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return shutil.which(os.environ.get("CXX") or "g++") is not None or shutil.which("clang++") is not None


def _own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a code object of its own: the compiler limits the variants that it keeps of each."""

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    own = types.FunctionType(call.__code__.replace(), call.__globals__, closure=call.__closure__)
    return functools.wraps(call)(own)
