"""`load`: a distilled set from its directory, checked by its hashes; no code of the file is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.sound import Sound
from limbeck.core.whitening import Whitening
from limbeck.registry import recipe_from_plain
from limbeck.storage.directory import IMAGES, SIDECAR, read_learnt, read_set, read_whitening

__all__ = ["load"]


def load(folder: str | Path) -> Distilled:
    """A distilled set from its directory.

    Args:
        folder: what `limbeck.distill` wrote.

    Raises:
        InputError: it is no distilled set, a file is missing, truncated or edited, or it uses a part that no
            installed package brings.
    """
    from safetensors import SafetensorError

    try:
        stored, description = read_set(Path(folder))
        spec = _spec(description["data"], read_whitening(Path(folder), description))
        recipe = recipe_from_plain(description["recipe"])
        seed, storage, identity = (description[name] for name in ("seed", "storage", "identity"))
        learnt, segments = read_learnt(Path(folder)), tuple(description.get("segments", ()))
        return Distilled(stored, spec, recipe, seed, storage, identity, learnt, segments)
    except KeyError as error:
        raise InputError(f"{Path(folder) / SIDECAR} lacks {error}; it was written by another version.") from error
    except SafetensorError as error:
        raise InputError(
            f"{Path(folder) / IMAGES} is no safetensors file ({error}); restore it from a copy."
        ) from error


def _spec(data: dict[str, Any], whitening: Whitening | None) -> DataSpec:
    channels, height, width = data["shape"]
    normalization = decode_dataclass(Normalization, data["normalization"], "data.normalization")
    sound = data.get("sound")
    return DataSpec(
        name=data["name"],
        channels=channels,
        height=height,
        width=width,
        class_names=tuple(data["class_names"]),
        normalization=replace(normalization, whitening=whitening),
        digest=data["digest"],
        sound=None if sound is None else decode_dataclass(Sound, sound, "data.sound"),
    )
