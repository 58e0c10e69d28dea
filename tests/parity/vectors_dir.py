"""Where the parity vectors are, and how a test finds the files of its family."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


def directory() -> Path:
    """`LIMBECK_PARITY_DIR`, else the shared vectors beside the project, else the project's own selection."""
    chosen = os.environ.get("LIMBECK_PARITY_DIR")
    if chosen:
        path = Path(chosen)
        if not path.is_dir():
            raise FileNotFoundError(f"LIMBECK_PARITY_DIR names '{chosen}', which is no folder")
        return path
    shared = HERE.parents[2] / "shared" / "parity"
    return shared if shared.is_dir() else HERE / "vectors"


def find(prefix: str) -> list[Path]:
    """Vector files whose name starts with ``prefix``, in any folder below the directory."""
    return sorted(path for path in directory().rglob("*.npz") if path.name.startswith(prefix))
