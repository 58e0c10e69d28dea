"""``limbeck relabel``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.shared import data_of, note, print_json
from limbeck.cli.teaching import TeacherOptions, teacher_of
from limbeck.data import LoadOptions
from limbeck.engine.progress import progress
from limbeck.engine.settings import Settings
from limbeck.evaluation.labels import Stored
from limbeck.evaluation.protocols import ProtocolName, for_set
from limbeck.evaluation.relabel import epochs_to_store, relabel
from limbeck.formats.native import load
from limbeck.ops.soft_labels import Compression
from limbeck.reports.tables import human_bytes, human_seconds

__all__ = ["Relabel"]


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Store what a teacher says of every batch of a protocol, to train on without the teacher.

    Each epoch is a file: rows, crop boxes, mirrors, mixing and logits of its batches. Stopped, the same command
    continues with the next epoch. 'limbeck evaluate --stored-labels' trains on them, and so can any DataLoader
    (limbeck.replay).
    """

    run_: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    out: Path
    """Folder for the labels."""
    protocol: ProtocolName = "limbeck_soft"
    """How networks will be trained: one that teaches by soft labels."""
    length: int | None = None
    """Updates (limbeck_soft) or epochs (the others) instead of the protocol's."""
    compress: tuple[str, ...] = ("fp16",)
    """What is kept of the logits: fp32 (exact), fp16 (as published) or int8 (one scale for each image); and topk:K, the
    K likeliest classes, while what probability is left is spread evenly over the others. For example: int8 topk:10."""
    epochs_kept: int | None = None
    """Epochs that are stored, through which a training goes round and round; all by default."""
    taught: tyro.conf.OmitArgPrefixes[TeacherOptions] = field(default_factory=TeacherOptions)
    """Who gives the labels."""
    seed: int = 0
    """Seed of batches, augmentation and mixing."""
    data: str | None = None
    """Data set that the teacher knows; that of the run by default."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded, with --data."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """Device and progress; the same flags as those of the run, whose teacher is then not trained again."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Relabel."""
        compression, distilled = Compression.parse(self.compress), load(self.run_)
        protocol = for_set(self.protocol, distilled)
        if self.length is not None:
            protocol = replace(protocol, length=self.length)
        protocol = self.taught.applied(protocol)
        total = epochs_to_store(distilled, protocol, compression, self.epochs_kept)
        data = data_of(self.run_, distilled, self.data, self.load)
        began = time.monotonic()
        with progress(self.settings.progress) as display:
            labels = teacher_of(distilled, self.taught, data, self.settings, display.say)
            display.start("labelling", total)
            store = relabel(
                distilled,
                labels,
                protocol,
                self.out,
                compression=compression,
                epochs_kept=self.epochs_kept,
                seed=self.seed,
                device=self.settings.torch_device(),
                done=lambda done, _: display.advance(done),
            )
        seconds = time.monotonic() - began
        if self.json:
            about = Stored(store).as_plain()
            sizes = {"bytes_labels": store.bytes, "bytes": distilled.bytes}
            print_json({"written": str(self.out), **sizes, **about, "seconds": seconds})
        else:
            note(
                f"{self.out}: {store.planned} epochs of {store.about['images']} images, {human_bytes(store.bytes)} "
                f"({compression}) beside {human_bytes(distilled.bytes)} of images, {human_seconds(seconds)}"
            )
        return 0
