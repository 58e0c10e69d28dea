"""``limbeck evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from limbeck.cli.shared import load_again, load_data, note, print_json
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings
from limbeck.data import Data, LoadOptions
from limbeck.engine.progress import progress
from limbeck.engine.run_file import FILE, read_run_file
from limbeck.engine.settings import ProgressMode, Settings
from limbeck.engine.snapshots import read_snapshots
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.protocols import Protocol, ProtocolName, for_set
from limbeck.formats.native import load
from limbeck.registry import parts
from limbeck.reports.judging import judge_snapshots
from limbeck.reports.runs import read_json, scores_as_plain, write_scores
from limbeck.reports.tables import curve_table, scores_table

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Train fresh networks on a distilled set and report their accuracy on the test images."""

    run_: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    protocol: ProtocolName = "limbeck"
    """How: limbeck (leak-free, fixed number of updates), or as published: idc (IDC and DREAM, 1000 epochs),
    idc_imagenet (IDC on ImageNet), dsa (DSA, DM, MTT), dc."""
    networks: tuple[str, ...] = ()
    """Architectures ('limbeck list networks'); the protocol's by default."""
    repeats: int | None = None
    """Networks of each architecture; the protocol's by default."""
    length: int | None = None
    """Updates (limbeck) or epochs (the others) instead of the protocol's."""
    learning_rates: tuple[float, ...] = ()
    """Step sizes to choose from on the validation part."""
    data: str | None = None
    """Data set; that of the run by default."""
    curve: bool = False
    """Judge the snapshots of the run ('limbeck distill --snapshots') as well as its result, and write how accuracy
    grew; what has been judged alike is not judged again."""
    seed: int = 0
    """Seed of the networks."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU when there is one."""
    execution: tyro.conf.OmitArgPrefixes[ExecutionSettings] = field(default_factory=ExecutionSettings)
    """How training steps are computed."""
    progress: ProgressMode = "auto"
    """Progress on standard error: a live bar, a plain line a minute, JSON lines, or nothing; auto looks whether it is
    a terminal."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded, with --data."""
    json: bool = False
    """Print the scores as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Evaluate."""
        device = Settings(device=self.device).torch_device()
        distilled = load(self.run_)
        data = self._data(distilled)
        protocol = for_set(self.protocol, distilled, self.networks, self.repeats)
        if self.length is not None:
            protocol = replace(protocol, length=self.length)
        if self.learning_rates:
            protocol = replace(protocol, learning_rates=self.learning_rates)
        test = data.require_test()
        if self.curve:
            return self._curve(data, protocol, device)
        with progress(self.progress) as display:
            display.start("evaluating", len(protocol.networks) * protocol.repeats)
            scores = evaluate(
                distilled,
                test,
                protocol,
                seed=self.seed,
                validation=data.validation,
                device=device,
                execution=self.execution,
                done=lambda done, total: display.advance(done),
            )
        path = write_scores(self.run_, scores, distilled, data.spec)
        if self.json:
            print_json({**scores_as_plain(scores, distilled.bytes), "file": str(path)})
        else:
            from rich.console import Console

            Console().print(scores_table(scores, str(self.run_)))
            note(f"written to {path}")
        return 0

    def _curve(self, data: Data, protocol: Protocol, device: torch.device) -> int:
        """Evaluate the snapshots too."""
        sets = len(read_snapshots(self.run_)) + 1
        with progress(self.progress) as display:
            display.start("evaluating", sets * len(protocol.networks) * protocol.repeats)
            path = judge_snapshots(
                self.run_,
                data,
                protocol,
                seed=self.seed,
                device=device,
                execution=self.execution,
                done=lambda done, total: display.advance(done),
            )
        curve = read_json(path)
        if self.json:
            print_json({**curve, "file": str(path)})
        else:
            from rich.console import Console

            Console().print(curve_table(curve, str(self.run_)))
            note(f"written to {path}; draw it with: limbeck report {self.run_}")
        return 0

    def _data(self, distilled: Distilled) -> Data:
        """The data that the set was made from, unless others are named."""
        if self.data is not None:
            return load_data(self.data, self.load)
        if not (self.run_ / FILE).is_file():
            raise InputError(f"{self.run_} has no {FILE} that names its data; name them with --data.")
        run = read_run_file(self.run_, parts())
        if run.data.source is None:
            raise InputError(f"{self.run_} was made from data handed over in Python; name test data with --data.")
        data = load_again(run.data, self.load)
        if data.spec.digest != distilled.spec.digest:
            raise InputError(
                f"{run.data.source} no longer holds the data of {self.run_} (its digest differs); restore them, or "
                "name other data with --data."
            )
        return data
