"""Where soft labels of a distilled set come from: a teacher that looks at every batch, or a store of what it said."""

from __future__ import annotations

import abc
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.evaluation.protocol import Protocol
from limbeck.storage.differences import first_difference
from limbeck.storage.labels import LabelStore, open_store
from limbeck.training.lessons import Lessons
from limbeck.training.replayed import Replayed
from limbeck.training.taught import KnownTeacher, Taught

__all__ = ["ByTeacher", "LabelKind", "Labels", "Stored", "belonging", "set_digest", "stored_labels"]

LabelKind = Literal["hard", "own", "teacher", "stored"]
"""Classes; probabilities that the set itself carries; what a teacher says of every batch; what it said of them once."""


class Labels(abc.ABC):
    """Soft labels for the batches of a protocol."""

    kind: LabelKind

    @property
    @abc.abstractmethod
    def bytes(self) -> int:
        """What must be kept beside the images for these labels: files, or the weights of a teacher."""

    @property
    @abc.abstractmethod
    def digest(self) -> str:
        """What identifies them."""

    @abc.abstractmethod
    def as_plain(self) -> dict[str, Any]:
        """Who the teacher is, and how labels are kept, for records."""

    @abc.abstractmethod
    def check(self, protocol: Protocol, spec: DataSpec, distilled: Distilled | None) -> None:
        """Refuse what these labels are not made for.

        Args:
            protocol: how networks are trained.
            spec: the training images.
            distilled: the set that is trained on; None for real images.

        Raises:
            InputError: labels of other classes, of another set or of other batches.
        """

    @abc.abstractmethod
    def on(self, device: torch.device) -> Labels:
        """The same for networks on a device."""

    @abc.abstractmethod
    def lessons(self, batches: Lessons, protocol: Protocol, classes: int) -> Lessons:
        """What a network is taught.

        Args:
            batches: those that it would be shown by itself.
            protocol: how it is trained.
            classes: K.
        """


@dataclass(frozen=True)
class ByTeacher(Labels):
    """A teacher labels every batch as the network sees it.

    Args:
        teacher: who.
    """

    teacher: KnownTeacher

    kind = "teacher"

    @property
    def bytes(self) -> int:
        """Those of the teacher's weights."""
        return self.teacher.bytes

    @property
    def digest(self) -> str:
        """That of the teacher."""
        return self.teacher.digest

    def as_plain(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": self.teacher.as_plain()}

    def check(self, protocol: Protocol, spec: DataSpec, distilled: Distilled | None) -> None:
        """The teacher knows these classes."""
        difference = _first_other(self.teacher.class_names, spec.class_names)
        if difference:
            raise InputError(f"the teacher {difference}; take a teacher of '{spec.name}'.")

    def on(self, device: torch.device) -> ByTeacher:
        """The teacher there."""
        return ByTeacher(self.teacher.on(device))

    def lessons(self, batches: Lessons, protocol: Protocol, classes: int) -> Lessons:
        """The network's own batches, labelled."""
        return Taught(batches, self.teacher, protocol.teacher_mode)


@dataclass(frozen=True)
class Stored(Labels):
    """Labels that a teacher gave once, with the batches that it gave them for.

    Args:
        store: where they are.
    """

    store: LabelStore

    kind = "stored"

    @property
    def bytes(self) -> int:
        """Those of the files."""
        return self.store.bytes

    @property
    def digest(self) -> str:
        """That of the store."""
        return self.store.digest

    def as_plain(self) -> dict[str, Any]:
        """The teacher, the compression and how many epochs were kept."""
        about = self.store.about
        kept = {name: about[name] for name in ("teacher", "compression", "seed")}
        return {**kept, "epochs": self.store.planned, "digest": self.digest}

    def check(self, protocol: Protocol, spec: DataSpec, distilled: Distilled | None) -> None:
        """The store belongs to this set, to these batches and to these classes."""
        where = self.store.folder
        if distilled is None:
            raise InputError(f"the labels in {where} belong to a distilled set; real images need a teacher.")
        asked = json.loads(json.dumps(belonging(distilled, protocol)))
        there = {name: self.store.about.get(name) for name in asked}
        difference = first_difference(there, asked)
        if difference:
            raise InputError(
                f"the labels in {where} are others ({difference}); make labels for this set and protocol with "
                "'limbeck relabel'."
            )

    def require_teacher(self, teacher: KnownTeacher) -> None:
        """Refuse labels of another teacher.

        Raises:
            InputError: they are.
        """
        difference = first_difference(self.store.about.get("teacher"), teacher.as_plain(), "teacher")
        if difference:
            raise InputError(f"the labels in {self.store.folder} are another teacher's ({difference}).")

    def on(self, device: torch.device) -> Stored:
        """The same: logits go where the images are."""
        return self

    def lessons(self, batches: Lessons, protocol: Protocol, classes: int) -> Lessons:
        """The store's batches."""
        return Replayed(self.store, classes)


def stored_labels(labels: str | Path | LabelStore) -> Stored:
    """Labels in a folder.

    Args:
        labels: the folder that `limbeck.relabel` wrote, or the store that it returned.

    Raises:
        InputError: there are none, or not all of them.
    """
    return Stored(labels if isinstance(labels, LabelStore) else open_store(labels))


def belonging(distilled: Distilled, protocol: Protocol) -> dict[str, Any]:
    """What labels belong to: the images and classes of a set, and all that decides batches and what a teacher says.

    Networks, their number, the length of their training and how they learn may differ.

    Args:
        distilled: the set.
        protocol: how networks are trained.
    """
    training = encode(protocol.training)
    names = ("batch_size", "augmentation", "cutmix", "mixup")
    return {
        "set": {
            "classes": distilled.spec.classes,
            "class_names": list(distilled.spec.class_names),
            "ipc": distilled.ipc,
            "digest": set_digest(distilled),
        },
        "protocol": {
            "name": protocol.name,
            **{name: training[name] for name in names},
            "teacher_mode": protocol.teacher_mode,
            "temperature": None if protocol.soft is None else protocol.soft.temperature,
        },
    }


def set_digest(distilled: Distilled) -> str:
    """What identifies the images that networks are trained on: 32 hexadecimal digits.

    Two runs that stored the same pixels have the same digest, whatever made them.
    """
    spec = distilled.spec
    facts = {
        "shape": list(distilled.stored.shape),
        "parametrization": encode(distilled.parametrization),
        "normalization": spec.normalization.key,
    }
    state = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for images in distilled.stored:
        values = distilled.values(images.detach().cpu()).float().contiguous()
        state.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def _first_other(teacher: tuple[str, ...], data: tuple[str, ...]) -> str:
    """How the classes of a teacher differ from those of data, in words; empty when they do not."""
    for label, (said, meant) in enumerate(zip(teacher, data, strict=False)):
        if said != meant:
            return f"knows class {label} as '{said}', and here it is '{meant}'"
    return "" if len(teacher) == len(data) else f"knows {len(teacher)} classes, and here are {len(data)}"
