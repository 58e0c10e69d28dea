"""``limbeck evaluate``."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from limbeck.cli.attack import AttackOptions
from limbeck.cli.ranking import RankingOptions, labels_for_both, rankings_folder
from limbeck.cli.shared import DiversityOptions, chosen_metrics, data_of, note, print_json
from limbeck.cli.teaching import TeacherOptions, named_teacher, teacher_of
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings
from limbeck.data import Data, LoadOptions
from limbeck.engine.progress import Progress, progress
from limbeck.engine.settings import ProgressMode, Settings
from limbeck.engine.snapshots import read_snapshots
from limbeck.evaluation.diversity import Reference, refer
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.labels import Labels, stored_labels
from limbeck.evaluation.protocols import Protocol, ProtocolName, for_set
from limbeck.evaluation.ranking import rank
from limbeck.evaluation.robustness import robustness
from limbeck.formats.native import load
from limbeck.reports.compare import LabelChoice
from limbeck.reports.diversity import relative_distances
from limbeck.reports.judging import judge_diversity, judge_prefixes, judge_snapshots
from limbeck.reports.migration import judge_migration, migration_table
from limbeck.reports.ranking import ranking_table, write_ranking
from limbeck.reports.robustness import robustness_table, write_robustness
from limbeck.reports.runs import read_json, write_scores
from limbeck.reports.tables import (
    class_table,
    curve_table,
    diversity_table,
    listing,
    prefixes_table,
    scores_table,
)

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Train fresh networks on a distilled set and report their accuracy on the test images; or its diversity."""

    run_: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    protocol: ProtocolName = "limbeck"
    """How: limbeck (leak-free, fixed number of updates) or limbeck_soft (the same with a teacher's labels), or as
    published: idc (IDC and DREAM, 1000 epochs), idc_imagenet (IDC on ImageNet), dsa (DSA, DM), dc, mtt (MTT, TESLA,
    FTD: with the step size that the set has learnt), ast (likewise, as AST's paper says), ast_official (as its code
    does), and with a teacher's labels sre2l_ and dwa_ with cifar, tiny or imagenet."""
    networks: tuple[str, ...] = ()
    """Architectures ('limbeck list networks'); the protocol's by default."""
    repeats: int | None = None
    """Networks of each architecture; the protocol's by default."""
    length: int | None = None
    """Updates (limbeck) or epochs (the others) instead of the protocol's."""
    learning_rates: tuple[float, ...] = ()
    """Step sizes to choose from on the validation part."""
    segments: Literal["together", "in_turn"] = "together"
    """How the segments of a set that was learnt in segments (dasm) are shown: together, or in turn."""
    lr: float | None = None
    """Step size for a set that has learnt none, with --protocol mtt, ast or ast_official, which refuse it otherwise."""
    data: str | None = None
    """Data set; that of the run by default."""
    labels: LabelChoice | None = None
    """Labels that networks are taught: hard, those of the set, or soft, a teacher's; by default what the protocol says,
    and hard to see what the same protocol gives without a teacher."""
    stored_labels: Path | None = None
    """Folder of 'limbeck relabel': soft labels are replayed from it and not asked of the teacher."""
    taught: tyro.conf.OmitArgPrefixes[TeacherOptions] = field(default_factory=TeacherOptions)
    """Who gives soft labels."""
    network_cache: bool | Path = True
    """Where a teacher that is trained on the real images is kept: the usual folder, this one, or nowhere."""
    per_class: bool = False
    """Print accuracy class by class and calibration as well; the scores' file has them always, with the confusion of
    classes."""
    metrics: tuple[Literal["accuracy", "diversity", "ranking", "robustness", "migration"], ...] = ("accuracy",)
    """What to measure: accuracy (fresh networks trained on the set), diversity (its features beside those of the real
    images), ranking (DD-Ranking's scores: what hard labels lose against all real images, and what the set wins over
    random ones), robustness (the networks of the protocol under attack), migration (how far the images moved
    from snapshot to snapshot), or several."""
    diversity: tyro.conf.OmitArgPrefixes[DiversityOptions] = field(default_factory=DiversityOptions)
    """How diversity is measured."""
    ranking: tyro.conf.OmitArgPrefixes[RankingOptions] = field(default_factory=RankingOptions)
    """How DD-Ranking's scores are measured."""
    attack: tyro.conf.OmitArgPrefixes[AttackOptions] = field(default_factory=AttackOptions)
    """How networks are attacked."""
    beside: tuple[Path, ...] = ()
    """Further finished runs on the same data, with --metrics diversity: measured by the same teacher, and their feature
    distances are set in relation to the largest."""
    curve: bool = False
    """Judge the snapshots of the run ('limbeck distill --snapshots') as well as its result, and write how accuracy
    grew; what has been judged alike is not judged again."""
    prefix: bool = False
    """Judge every prefix of the segments of a set that was learnt segment by segment ('limbeck distill dasm'), and
    write accuracy over images per class; what has been judged alike is not judged again."""
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
        metrics = chosen_metrics(self.metrics)
        several = [name for name, asked in (("--curve", self.curve), ("--prefix", self.prefix)) if asked]
        if len(several) > 1:
            raise InputError("--curve and --prefix judge other sets; give them in commands of their own.")
        if several and metrics != ("accuracy",):
            raise InputError(f"{several[0]} judges accuracy; measure anything else in a command of its own.")
        if "ranking" not in metrics and self.ranking != RankingOptions():
            raise InputError(
                "--ranking-* and --augment-hard say how DD-Ranking's scores are measured; add --metrics ranking."
            )
        if "robustness" not in metrics and self.attack != AttackOptions():
            raise InputError("--epsilons and --attack-* say how networks are attacked; add --metrics robustness.")
        if self.ranking.ranking_config is not None and (metrics != ("ranking",) or self.networks or self.length):
            raise InputError(
                "--ranking-config says how networks are trained; leave --networks, --length and other --metrics out."
            )
        distilled, beside = load(self.run_), {folder: load(folder) for folder in self.beside}
        if beside and "diversity" not in metrics:
            raise InputError("--beside names sets whose diversity is compared; add --metrics diversity.")
        for folder, other in beside.items():
            if other.spec.digest != distilled.spec.digest:
                raise InputError(f"{folder} was made from other data than {self.run_}; name runs on the same data.")
        found = {"migration": self._migration(device)} if "migration" in metrics else {}
        if metrics == ("migration",):  # asks for no real images
            return self._printed(found)
        data = data_of(self.run_, distilled, self.data, self.load)
        protocol = for_set(self.protocol, distilled, self.networks, self.repeats, self.lr)
        if self.length is not None:
            protocol = replace(protocol, length=self.length)
        if self.learning_rates:
            protocol = replace(protocol, learning_rates=self.learning_rates)
        if self.ranking.ranking_config is None:
            protocol = self._with_labels(protocol)
        protocol = replace(protocol, segments=self.segments)
        if several:
            data.require_test()
            return self._several(distilled, data, protocol, device)
        if "accuracy" in metrics:
            found |= self._accuracy(distilled, data, protocol, device)
        if "diversity" in metrics:
            found["diversity"] = self._diversity(distilled, beside, data, device)
        if "ranking" in metrics:
            found["ranking"] = self._ranking(distilled, data, protocol, device)
        if "robustness" in metrics:
            found["robustness"] = self._robustness(distilled, data, protocol, device)
        return self._printed(found)

    def _printed(self, found: dict[str, Any]) -> int:
        if self.json:
            print_json(found)
        return 0

    def _migration(self, device: torch.device) -> dict[str, Any]:
        """Measure how far the images moved unless it has been; the figures and their file."""
        path = judge_migration(self.run_, seed=self.seed, device=device)
        plain = read_json(path)
        if not self.json:
            from rich.console import Console

            Console().print(migration_table(plain, str(self.run_)))
            note(f"written to {path}; draw it with: limbeck report {self.run_}")
        return {**plain, "file": str(path)}

    def _accuracy(self, distilled: Distilled, data: Data, protocol: Protocol, device: torch.device) -> dict[str, Any]:
        """Train networks and write what they reach; the scores and their file."""
        test = data.require_test()
        with progress(self.progress) as display:
            labels = self._labels(distilled, data, protocol, display)
            display.start("evaluating", len(protocol.networks) * protocol.repeats)
            scores = evaluate(
                distilled,
                test,
                protocol,
                labels=labels,
                seed=self.seed,
                validation=data.validation,
                device=device,
                execution=self.execution,
                done=lambda done, total: display.advance(done),
            )
        path = write_scores(self.run_, scores, distilled, data.spec)
        if not self.json:
            from rich.console import Console

            Console().print(scores_table(scores, str(self.run_), distilled.bytes))
            if self.per_class:
                Console().print(class_table(scores, distilled.spec.class_names))
            if distilled.student_lr is not None and protocol.lr_of_set == "ignored":
                note(
                    f"the set has learnt a step size, {distilled.student_lr:g}, which protocol '{protocol.name}' does "
                    "not use, so that all sets are on an equal footing; --protocol mtt does"
                )
            for entry in scores.networks:
                if self.execution.together not in ("auto", 1) and entry.execution.together == 1 < protocol.repeats:
                    note(f"{entry.network} cannot be computed side by side; its networks were trained one by one")
            note(f"written to {path}")
        return {**read_json(path), "file": str(path)}

    def _ranking(self, distilled: Distilled, data: Data, base: Protocol, device: torch.device) -> dict[str, Any]:
        """Measure DD-Ranking's scores; the scores and their file."""
        protocol = self.ranking.protocol(distilled, base, self.learning_rates, self._with_labels)
        with progress(self.progress) as display:
            labels = labels_for_both(self._labels(distilled, data, protocol.base, display))
            display.start("ranking", protocol.runs * len(protocol.trainings))
            ranking = rank(
                distilled,
                data,
                protocol,
                labels=labels,
                seed=self.seed,
                device=device,
                execution=self.execution,
                cache=rankings_folder(self.network_cache),
                done=lambda done, total: display.advance(done),
            )
        digest = "" if labels is None else labels.digest
        path = write_ranking(self.run_, ranking, distilled, data.spec, self.execution.precision, digest)
        plain = read_json(path)
        if not self.json:
            from rich.console import Console

            Console().print(ranking_table(plain, f"{self.run_}: DD-Ranking's scores, protocol {protocol.base.name}"))
            note(f"written to {path} and, in DD-Ranking's columns, to {path.with_suffix('.csv').name}")
        return {**plain, "file": str(path)}

    def _robustness(self, distilled: Distilled, data: Data, protocol: Protocol, device: torch.device) -> dict[str, Any]:
        """Attack the networks of the protocol; what they reach and its file."""
        attack = self.attack.attack()
        attack.check(distilled.spec)
        with progress(self.progress) as display:
            labels = self._labels(distilled, data, protocol, display)
            display.start("attacking", len(protocol.networks) * protocol.repeats)
            found = robustness(
                distilled,
                data.require_test(),
                protocol,
                attack,
                labels=labels,
                seed=self.seed,
                validation=data.validation,
                device=device,
                execution=self.execution,
                done=lambda done, total: display.advance(done),
            )
        digest = "" if labels is None else labels.digest
        path = write_robustness(self.run_, found, distilled, data.spec, self.execution.precision, digest)
        if not self.json:
            from rich.console import Console

            Console().print(robustness_table(found, str(self.run_)))
            note(f"written to {path}")
        return {**read_json(path), "file": str(path)}

    def _diversity(
        self, distilled: Distilled, beside: dict[Path, Distilled], data: Data, device: torch.device
    ) -> dict[str, Any]:
        """Measure diversity unless it has been; the figures, without what is only drawn, and their file."""
        protocol, sets = self.diversity.protocol(), {self.run_: distilled, **beside}
        with progress(self.progress) as display:

            @functools.cache
            def reference() -> Reference:
                display.start("training the teacher", protocol.epochs + data.spec.classes)
                return refer(
                    data.train,
                    protocol,
                    seed=self.seed,
                    device=device,
                    execution=self.execution,
                    done=lambda done, total: display.advance(done),
                )

            paths = {
                folder: judge_diversity(
                    folder, each, data, protocol, reference, seed=self.seed, execution=self.execution
                )
                for folder, each in sets.items()
            }
        found = {folder: read_json(path) for folder, path in paths.items()}
        shares = self._shares(found)
        if not self.json:
            from rich.console import Console

            for folder, plain in found.items():
                Console().print(diversity_table(plain, str(folder)))
                note(f"written to {paths[folder]}")
            if shares:
                rows = [(folder, f"{share:.3f}") for folder, share in shares.items()]
                Console().print(listing(("set", "relative"), rows, "feature distance, relative to the largest"))
            note(f"draw it with: limbeck report {' '.join(map(str, found))}")
        plain = {name: value for name, value in found[self.run_].items() if name != "scatter"}
        relative = {"relative": {str(folder): share for folder, share in shares.items()}} if shares else {}
        return {**plain, **relative, "file": str(paths[self.run_])}

    def _shares(self, found: dict[Path, dict[str, Any]]) -> dict[Path, float]:
        """Feature distance of each set relative to the largest; nothing for a single set.

        Raises:
            InputError: the sets are of different size, on which the feature distance depends.
        """
        if len({tuple(plain["images"]) for plain in found.values()}) > 1:
            raise InputError(
                "the feature distance depends on the size of a set; put sets of one IPC and packing --beside."
            )
        return dict(zip(found, relative_distances(list(found.values())), strict=True)) if len(found) > 1 else {}

    def _with_labels(self, protocol: Protocol) -> Protocol:
        """The protocol with the kind of labels that was asked for."""
        soft = protocol.soft is not None and self.labels != "hard"
        if self.labels == "soft" and not soft:
            raise InputError(
                f"protocol '{protocol.name}' teaches by the labels of the set alone; for soft labels take another, for "
                "example --protocol limbeck_soft."
            )
        if not soft and (self.stored_labels is not None or self.taught != TeacherOptions()):
            raise InputError(
                f"protocol '{protocol.name}' with hard labels asks no teacher; leave --stored-labels and --taught-by "
                "out, or take a protocol with soft labels, for example --protocol limbeck_soft."
            )
        return self.taught.applied(protocol) if soft else protocol.hard()

    def _labels(self, distilled: Distilled, data: Data, protocol: Protocol, display: Progress) -> Labels | None:
        """Soft labels, where the protocol teaches by them."""
        if protocol.soft is None:
            return None
        settings = Settings(
            device=self.device,
            network_cache=self.network_cache,
            **{item.name: getattr(self.execution, item.name) for item in fields(ExecutionSettings)},
        )
        if self.stored_labels is None:
            return teacher_of(distilled, self.taught, data, settings, display.say)
        stored = stored_labels(self.stored_labels)
        stored.check(protocol, distilled.spec, distilled)
        named = named_teacher(self.taught, data, settings, display.say)
        if named is not None:
            stored.require_teacher(named.teacher)
        return stored

    def _several(self, distilled: Distilled, data: Data, protocol: Protocol, device: torch.device) -> int:
        """Evaluate the snapshots too, or every prefix."""
        what = "snapshots" if self.curve else "prefixes"
        if self.stored_labels is not None:
            raise InputError(f"stored labels belong to one set and not to its {what}; leave --stored-labels out.")
        sets = len(read_snapshots(self.run_)) + 1 if self.curve else len(distilled.segments)
        judge_all = judge_snapshots if self.curve else judge_prefixes
        with progress(self.progress) as display:
            labels = self._labels(distilled, data, protocol, display)
            display.start("evaluating", sets * len(protocol.networks) * protocol.repeats)
            path = judge_all(
                self.run_,
                data,
                protocol,
                labels=labels,
                seed=self.seed,
                device=device,
                execution=self.execution,
                done=lambda done, total: display.advance(done),
            )
        found = read_json(path)
        if self.json:
            print_json({**found, "file": str(path)})
        else:
            from rich.console import Console

            Console().print((curve_table if self.curve else prefixes_table)(found, str(self.run_)))
            note(f"written to {path}; draw it with: limbeck report {self.run_}")
        return 0
