"""The directory of a distilled set: ``images.safetensors``, ``distilled.json``, ``preview.png``, ``README.md``.

Of a set that is seen whitened there is ``whitening.safetensors`` as well.

``distilled.json`` says everything that is needed to use the images (space, normalization, parametrization, labels,
class names, recipe, seed, versions) and the hash of the pixels. Nothing in it depends on when the set was made, so the
same run writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.whitening import Whitening
from limbeck.storage.atomic import replacing, write_bytes, write_text
from limbeck.storage.preview import contact_sheet
from limbeck.storage.whitening import whitening_from_bytes, whitening_to_bytes

__all__ = ["FORMAT", "IMAGES", "SIDECAR", "WHITENING", "read_learnt", "read_set", "read_whitening", "write_set"]

FORMAT = 1
IMAGES, SIDECAR, PREVIEW, CARD = "images.safetensors", "distilled.json", "preview.png", "README.md"
WHITENING = "whitening.safetensors"
_LEARNT = "learnt."
"""What stands before the names of tensors that were learnt beside the pixels."""


def write_set(folder: Path, distilled: Distilled, beside: Path | None = None) -> None:
    """Write a distilled set into a folder, file by file and each atomically; the JSON comes last.

    Args:
        folder: made when missing; other files in it are left alone.
        distilled: the set.
        beside: folder of another set of the same run; what whitens both is on the disk once, where links are possible.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    stored = distilled.stored_as(distilled.storage).stored.detach().cpu()
    if distilled.storage == "float32":
        stored = stored.float()
    images = save({"stored": stored.contiguous(), **_learnt_tensors(distilled)})
    write_bytes(folder / IMAGES, images)
    with replacing(folder / PREVIEW) as temporary:
        contact_sheet(distilled).save(temporary, format="PNG")
    whitening = distilled.spec.normalization.whitening
    content = b"" if whitening is None else whitening_to_bytes(whitening)
    if whitening is not None and not _linked(folder / WHITENING, content, beside):
        write_bytes(folder / WHITENING, content)
    description = _describe(distilled, _hash(images), content)
    write_text(folder / CARD, _card(distilled, description))
    write_text(folder / SIDECAR, json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def read_set(folder: Path) -> tuple[Tensor, dict[str, Any]]:
    """Stored images (`limbeck.core.distilled.Distilled.stored`) and the description of a set, checked by its hashes.

    Args:
        folder: the directory.

    Raises:
        InputError: it is no distilled set, or a file is missing, truncated or edited.
    """
    from safetensors.torch import load

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the --out folder of a finished run.")
    try:
        description = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        content = (folder / IMAGES).read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} holds no finished distilled set ({Path(str(error.filename)).name} is missing); "
            "run or resume 'limbeck distill' with this --out."
        ) from error
    except ValueError as error:
        raise InputError(f"{folder / SIDECAR} is damaged ({error}); restore the folder from a copy.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError(
            f"{folder / SIDECAR} is not of format {FORMAT}, the only one this version reads; install a newer limbeck."
        )
    claimed = description.pop("sha256_description", None)
    if claimed != _hash(json.dumps(description, sort_keys=True).encode()):
        raise InputError(f"{folder / SIDECAR} was edited or truncated (hash differs); restore it from a copy.")
    if _hash(content) != description["sha256_images"]:
        raise InputError(f"{folder / IMAGES} was edited or truncated (hash differs); restore it from a copy.")
    return load(content)["stored"], description


def read_whitening(folder: Path, description: dict[str, Any]) -> Whitening | None:
    """What the images of a set are whitened by, checked by its hash; None where they are not whitened.

    Args:
        folder: of the set.
        description: what `read_set` gave.

    Raises:
        InputError: the file is missing, truncated or edited.
    """
    about = description["whitening"]
    if about is None:
        return None
    path = folder / WHITENING
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing, without which the set cannot be used; restore it from a copy.") from error
    if _hash(content) != about["sha256"]:
        raise InputError(f"{path} was edited or truncated (hash differs); restore it from a copy.")
    return whitening_from_bytes(content, str(path))


def read_learnt(folder: Path) -> dict[str, Tensor]:
    """What was learnt beside the pixels of a set (`limbeck.core.distilled.Distilled.learnt`), by name.

    Args:
        folder: the directory, which `read_set` has checked.
    """
    from safetensors import safe_open

    with safe_open(folder / IMAGES, framework="pt") as file:
        found = [name for name in file.keys() if name.startswith(_LEARNT)]  # noqa: SIM118  no mapping
        # Copies: tensors in the file lie at odd addresses, where sums may be rounded otherwise.
        return {name.removeprefix(_LEARNT): file.get_tensor(name).clone() for name in found}


def _learnt_tensors(distilled: Distilled) -> dict[str, Tensor]:
    """What was learnt beside the pixels as it is kept: step sizes exactly, probabilities as they are counted."""
    kept = {}
    for name, tensor in distilled.learnt.items():
        kind = torch.float64 if tensor.ndim < 2 else torch.float32
        kept[_LEARNT + name] = tensor.detach().cpu().to(kind).contiguous()
    return kept


def _describe(distilled: Distilled, images: str, whitening: bytes) -> dict[str, Any]:
    spec = distilled.spec
    normalization = spec.normalization
    description = {
        "format": FORMAT,
        "method": distilled.recipe.name,
        "data": {
            "name": spec.name,
            "shape": list(spec.shape),
            "class_names": list(spec.class_names),
            "normalization": {name: encode(getattr(normalization, name)) for name in ("mean", "std", "source")},
            "digest": spec.digest,
            **({} if spec.sound is None else {"sound": encode(spec.sound)}),
        },
        "ipc": distilled.ipc,
        **({"segments": list(distilled.segments)} if distilled.segments else {}),
        "space": distilled.parametrization.space,
        "to_unit_space": _to_unit_space(distilled),
        "whitening": _about(normalization.whitening, whitening),
        "labels": _labels_in_words(distilled),
        **_learnt_in_numbers(distilled),
        "storage": distilled.storage,
        "bytes": distilled.bytes,
        "seed": distilled.seed,
        "recipe": encode(distilled.recipe),
        "identity": distilled.identity,
        "sha256_images": images,
    }
    # As JSON will give it back, so that the hash is that of what a reader sees.
    description = json.loads(json.dumps(description))
    return {**description, "sha256_description": _hash(json.dumps(description, sort_keys=True).encode())}


def _linked(path: Path, content: bytes, beside: Path | None) -> bool:
    """Whether a file became another name of the one with this content in another folder; files are never edited."""
    other = None if beside is None else beside / path.name
    try:
        if other is None or path.exists() or _hash(other.read_bytes()) != _hash(content):
            return False
        path.hardlink_to(other)
    except OSError:
        return False
    return True


def _about(whitening: Whitening | None, content: bytes) -> dict[str, Any] | None:
    """How networks see images of [0, 1], where it is not by channels."""
    if whitening is None:
        return None
    return {
        "kind": "zca",
        "file": WHITENING,
        "values": whitening.values,
        "eps": whitening.eps,
        "from_unit_space": "(x - mean) W, with x the values of an image in the order C, H, W, "
        "W = U diag((S + eps)^(-1/2)) U^T, U 'basis' and S 'variances' of the file",
        "sha256": _hash(content),
    }


def _labels_in_words(distilled: Distilled) -> str:
    """What labels the set is to be used with, and where they are."""
    words, labels = distilled.recipe.labeler.in_words(), distilled.soft_labels
    if labels is None:
        return words
    made = words if words.startswith("soft") else "soft: probabilities that were learnt with the images"
    where = f"tensor {_LEARNT}labels of {IMAGES}, [classes, decoded images of a class, probabilities]"
    return f"{made}; {where}"


def _learnt_in_numbers(distilled: Distilled) -> dict[str, Any]:
    """The step size and the bytes of labels, where there are any."""
    rate, size = distilled.student_lr, distilled.label_bytes
    return {**({} if rate is None else {"student_lr": rate}), **({"bytes_labels": size} if size else {})}


def _to_unit_space(distilled: Distilled) -> str:
    """How a stored value becomes one in [0, 1]."""
    if distilled.storage == "uint8":
        return "x / 255"
    if distilled.parametrization.space == "normalized" and distilled.spec.normalization.whitening is not None:
        return (
            "x V + mean, with x the values of an image in the order C, H, W, V = U diag((S + eps)^(1/2)) U^T, U "
            f"'basis' and S 'variances' of {WHITENING}; clamped to [0, 1] to be looked at"
        )
    return "x" if distilled.parametrization.space == "unit" else "x * std + mean, per channel"


def _card(distilled: Distilled, description: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("limbeck.storage", "templates")
    template = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True).get_template("card.md")
    return template.render(distilled=distilled, description=description, cite=distilled.recipe.cite())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
