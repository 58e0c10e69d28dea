"""What a run carries so that it can be told apart, repeated and trusted."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

__all__ = ["hardware", "peak_memory_bytes", "versions"]


@functools.cache
def _commit() -> str | None:
    """Git commit of the source tree that limbeck runs from, with ``-dirty`` after local changes; None if installed."""
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if tracked.returncode == 0 else None


def versions() -> dict[str, Any]:
    """Versions that a result may depend on."""
    named = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")}
    return {"limbeck": _own_version(), "commit": _commit(), "python": platform.python_version(), **named}


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine, in a few words."""
    found: dict[str, Any] = {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def peak_memory_bytes(device: torch.device) -> int:
    """Largest resident memory of this process so far, or memory allocated on its GPU; 0 where it is not known."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _own_version() -> str:
    try:
        return importlib.metadata.version("limbeck")
    except importlib.metadata.PackageNotFoundError:
        return "source"
