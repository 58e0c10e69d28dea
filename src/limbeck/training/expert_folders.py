"""Folders of experts: which experts are wanted, what a folder says it has, and whether these are those.

The experts of one set are files ``NNNN.safetensors`` in a folder with a ``manifest.json``. In the cache the folder is
named by a hash of all that decides their numbers, down to rounding, so that the cache changes no result. A folder that
was given is compared with what a run needs, by its manifest, and its files by their digests; nothing in it is ever
replaced by a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.storage.trajectories import MANIFEST, read_manifest, trajectory_facts, trajectory_path
from limbeck.storage.weights import SUFFIX, digest
from limbeck.training.beginnings import Beginning
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.pretraining import content_key

__all__ = ["Wanted", "cached_folder", "entry_of", "listed", "manifest_of", "present", "require_fitting"]

_VERSION = 1
"""Goes up whenever the same settings come to make other experts."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which experts are wanted.

    Args:
        network: architecture.
        course: how each is trained.
        count: experts; the first ones are the same for any count.
        epochs: epochs whose snapshots are kept, 0 for the initial weights; ascending.
        half: whether snapshots are kept in float16.
        seed: seed of their random numbers.
        beginning: networks that they go on from and the real images that they learn; None for fresh ones and all.
    """

    network: str
    course: ExpertTraining
    count: int
    epochs: tuple[int, ...]
    half: bool
    seed: int
    beginning: Beginning | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What tells them from fresh ones that learn all images: nothing, or the hash of their beginning."""
        return {} if self.beginning is None else {"beginning": self.beginning.digest}


def cached_folder(context: Context, wanted: Wanted) -> Path | None:
    """The folder of these experts in the run's cache; None where nothing is kept.

    Experts of which all epochs are kept serve as well, if there are enough of them.
    """
    if context.cache is None:
        return None
    root = context.cache / "experts"
    every = root / _key(context, replace(wanted, epochs=tuple(range(wanted.course.epochs + 1))))
    entries = (read_manifest(every) or {}).get("experts", ())
    return every if len(entries) >= wanted.count else root / _key(context, wanted)


def _key(context: Context, wanted: Wanted) -> str:
    settings = _settings(context, wanted)
    if wanted.course.together > 1:  # else nothing is rounded otherwise
        settings["together"] = wanted.course.together
    kept = {"epochs": wanted.epochs, "half": wanted.half, **wanted.facts}
    return content_key(context, wanted.network, wanted.seed, experts=_VERSION, training=settings, **kept)


def _settings(context: Context, wanted: Wanted) -> dict[str, Any]:
    """How experts are trained, as plain data, without what only says how that is computed."""
    settings: dict[str, Any] = encode(wanted.course.bound(context.spec))
    del settings["together"]
    return settings


def _normalization(context: Context) -> dict[str, Any]:
    """How networks see images; a whitening follows from the data and its eps."""
    seen = context.spec.normalization
    whitening = seen.whitening
    return {"mean": list(seen.mean), "std": list(seen.std), "whitening": None if whitening is None else whitening.eps}


def manifest_of(context: Context, wanted: Wanted) -> dict[str, Any]:
    """What a folder of these experts says, without the experts."""
    execution, spec = context.execution, context.spec
    return {
        "format": 1,
        "settings": _settings(context, wanted),
        "data": {"name": spec.name, "digest": spec.digest, "images": len(context.data)},
        "normalization": _normalization(context),
        "network": context.network(wanted.network).name,
        "seed": wanted.seed,
        "dtype": _dtype(context.dtype, wanted.half),
        "epochs": list(wanted.epochs),
        **wanted.facts,
        "computed": {
            "torch": torch.__version__,
            "device": context.device.type,
            "dtype": str(context.dtype).removeprefix("torch."),
            "precision": execution.precision,
            "compile": execution.compile,
            "together": wanted.course.together,
        },
    }


def _dtype(dtype: torch.dtype, half: bool) -> str:
    return "float16" if half else str(dtype).removeprefix("torch.")


def require_fitting(context: Context, wanted: Wanted, folder: Path, *, growing: bool = False) -> list[dict[str, Any]]:
    """Refuse a folder whose experts are not those that are wanted, with the first field that differs.

    Args:
        context: the run.
        wanted: which experts.
        folder: where they should be.
        growing: whether experts are to be added: there may be too few, but the seed must be the same.

    Returns:
        What the manifest says of each expert.

    Raises:
        InputError: there is no manifest, it does not fit, there are too few experts, or one is missing or cut off.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{folder} has no {MANIFEST} that can be read, so that nobody knows what its experts are; make a folder of "
            "experts with 'limbeck experts METHOD --out FOLDER'."
        )
    ours, theirs = manifest_of(context, wanted), manifest
    fields = ("format", "settings", "data.digest", "normalization", "network", "dtype")
    for field, asked, there in _compared(ours, theirs, (*fields, "seed") if growing else fields):
        if asked != there:
            raise InputError(
                f"the experts in {folder} do not fit: {field} is {_shown(there)} there and {_shown(asked)} here; name "
                "another folder, or set it alike."
            )
    kept = theirs.get("epochs", [])
    if not set(wanted.epochs) <= set(kept) or (growing and list(wanted.epochs) != kept):
        raise InputError(
            f"the experts in {folder} do not fit: epochs {_ranges(kept)} are kept there and {_ranges(wanted.epochs)} "
            "are read here; train experts with --all-epochs, or lower starts."
        )
    entries: list[dict[str, Any]] = manifest.get("experts", [])
    if growing:
        return entries
    if len(entries) < wanted.count:
        raise InputError(
            f"the experts in {folder} do not fit: count is {len(entries)} there and {wanted.count} here; train more "
            "with 'limbeck experts', or lower count."
        )
    for entry in entries[: wanted.count]:
        path = trajectory_path(folder, entry["number"])
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            state = "damaged" if path.is_file() else "missing"
            raise InputError(f"expert {entry['number']} in {folder} is {state} ({path.name}); restore it.")
    return entries


def _compared(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], fields: Sequence[str]
) -> Iterator[tuple[str, Any, Any]]:
    """Leaves of both trees by their dotted path, in the order of ours."""
    for field in fields:
        one: Any = ours
        other: Any = theirs
        for name in field.split("."):
            one, other = (tree.get(name) if isinstance(tree, Mapping) else None for tree in (one, other))
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            for path, *pair in _compared(one, other, list(dict.fromkeys([*one, *other]))):
                yield f"{field}.{path}", *pair
        else:
            yield field, one, other


def _shown(value: Any) -> str:
    return "not said" if value is None else str(value)


def _ranges(epochs: Sequence[int]) -> str:
    """``0-21, 50`` for many numbers in order."""
    words: list[list[int]] = []
    for epoch in epochs:
        if words and words[-1][1] == epoch - 1:
            words[-1][1] = epoch
        else:
            words.append([epoch, epoch])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in words) or "none"


def listed(entries: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the manifest lists of experts by number: those in order, as far as none is missing between."""
    found: list[dict[str, Any]] = []
    while len(found) in entries:
        found.append(entries[len(found)])
    return found


def present(folder: Path, known: Mapping[str, Any] | None) -> dict[int, dict[str, Any]]:
    """What is known of the experts in a folder whose files are there and whole, by number.

    Args:
        folder: where; nothing is in one that is missing.
        known: its manifest, if there is one.
    """
    said = {entry["number"]: entry for entry in (known or {}).get("experts", ())}
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        if not path.stem.isdigit():
            continue
        number = int(path.stem)
        entry = said.get(number)
        if entry is None or path.stat().st_size != entry["bytes"]:
            # A run that was killed between the file and the manifest, or a damaged file.
            entry = entry_of(path, number, trajectory_facts(path))
        if entry is not None:
            found[number] = entry
    return found


def entry_of(path: Path, number: int, facts: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the manifest says of the expert in a file with these facts; None where the file has none."""
    if facts is None:
        return None
    return {"number": number, **facts, "bytes": path.stat().st_size, "digest": digest(path)}
