"""``limbeck compare``."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from limbeck.cli.overrides import apply
from limbeck.cli.shared import (
    DiversityOptions,
    Metric,
    choose_recipe,
    chosen_metrics,
    load_data,
    note,
    preset_name,
    print_json,
    run_folder,
    seeds_of,
)
from limbeck.cli.teaching import TeacherOptions, named_teacher
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions
from limbeck.engine.progress import progress
from limbeck.engine.settings import Settings
from limbeck.evaluation.protocols import Protocol, ProtocolName, for_data
from limbeck.reports.compare import Comparison, LabelChoice, compare
from limbeck.reports.page import write_page
from limbeck.reports.runs import read_run
from limbeck.reports.tables import comparison_table

__all__ = ["Compare", "show_comparison"]


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Put methods and baselines in one table: equal bytes, one protocol, several seeds.

    Everything that is done lies in --out and is not done again when the command is repeated. Changes of a recipe
    (--with, --SLOT.FIELD) apply to every method that is no baseline.
    """

    methods: tyro.conf.Positional[tuple[str, ...]]
    """Methods and baselines, for example: random herding kcenter forgetting dream."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    ipc: tuple[int, ...] = (10,)
    """Stored images per class, one or several."""
    seeds: int = 3
    """How many seeds; each distils and evaluates from streams of its own."""
    preset: str | None = None
    """Whose settings to use; by default those of the data set, or 'small'."""
    protocol: ProtocolName = "limbeck"
    """How sets are judged."""
    labels: tuple[LabelChoice, ...] = ()
    """Labels that networks are taught: hard, those of the sets, soft, a teacher's, or both, which gives every set one
    row for each; by default what the protocol says."""
    taught: tyro.conf.OmitArgPrefixes[TeacherOptions] = field(default_factory=TeacherOptions)
    """Who gives soft labels; the same for all sets. By default the teacher of the first method that brings one."""
    networks: tuple[str, ...] = ("convnet3",)
    """Architectures ('limbeck list networks')."""
    repeats: int = 3
    """Networks of each architecture and seed."""
    length: int | None = None
    """Updates (limbeck) or epochs (the others) instead of the protocol's."""
    lr: float | None = None
    """Step size for sets that have learnt none, with --protocol mtt, ast or ast_official, which refuse them without."""
    full: bool = False
    """Also train on all real images."""
    metrics: tuple[Metric, ...] = ("accuracy",)
    """What to measure: accuracy, which is always measured, and with 'accuracy diversity' also the features of all sets
    beside those of the real images, by one teacher."""
    diversity: tyro.conf.OmitArgPrefixes[DiversityOptions] = field(default_factory=DiversityOptions)
    """How diversity is measured."""
    out: Path | None = None
    """Folder for runs, comparison.json and report.html; runs/compare-DATA by default."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """Device and progress."""
    json: bool = False
    """Print the table as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Compare."""
        if not self.methods:
            raise InputError("name at least one method, for example: limbeck compare random dream.")
        if len(set(self.methods)) < len(self.methods):
            raise InputError("a method is named twice; name each once.")
        if not self.ipc or len(set(self.ipc)) < len(self.ipc):
            raise InputError("--ipc takes one or several different numbers, for example --ipc 1 10.")
        name = preset_name(self.data, self.load.classes)
        recipes: dict[str, dict[int, Recipe]] = {}
        for method, ipc in itertools.product(self.methods, self.ipc):
            recipe = choose_recipe(method, self._preset(method), None, name, ipc)
            changed = recipe if recipe.objective is None else apply(recipe, swaps, fields, "limbeck compare")
            recipes.setdefault(method, {})[ipc] = changed
        learnt = [recipe for by_ipc in recipes.values() for recipe in by_ipc.values() if recipe.objective is not None]
        if (swaps or fields) and not learnt:
            raise InputError("--with and --SLOT.FIELD change no baseline; name a method that learns or leave them out.")
        seeds, metrics = seeds_of(self.seeds), chosen_metrics(self.metrics)
        if "accuracy" not in metrics:
            raise InputError("a comparison always measures accuracy; use --metrics accuracy diversity.")
        data = load_data(self.data, self.load)
        protocol = self._one_protocol(data.spec, recipes)
        out = run_folder(self.out, "compare", data.spec.name)
        if self.taught != TeacherOptions() and (protocol.soft is None or self.labels == ("hard",)):
            raise InputError(
                "--taught-by names who gives soft labels, and none are asked for; leave it out, or take a protocol "
                "with soft labels, for example --protocol limbeck_soft."
            )
        protocol = self.taught.applied(protocol)
        with progress(self.settings.progress) as display:
            teacher = named_teacher(self.taught, data, self.settings, display.say)
        comparison = compare(
            recipes,
            data,
            ipcs=self.ipc,
            seeds=seeds,
            protocol=protocol,
            out=out,
            full=self.full,
            labels=self.labels,
            teacher=teacher,
            diversity=self.diversity.protocol() if "diversity" in metrics else None,
            settings=self.settings,
        )
        show_comparison(comparison, recipes, out, self.json, f"limbeck compare {' '.join(self.methods)}")
        return 0

    def _one_protocol(self, spec: DataSpec, recipes: dict[str, dict[int, Recipe]]) -> Protocol:
        """How all sets are judged; refused when it would not be the same for all."""
        by_count: dict[int, Protocol] = {}
        for by_ipc in recipes.values():
            for ipc, recipe in by_ipc.items():
                decoded = recipe.parametrization.parts(ipc)
                by_count[decoded] = for_data(
                    self.protocol, spec, self.networks, self.repeats, decoded=decoded, lr=self.lr
                )
        if self.length is not None:
            by_count = {count: replace(protocol, length=self.length) for count, protocol in by_count.items()}
        (first, protocol), *others = sorted(by_count.items(), key=lambda pair: pair[0])
        for count, other in others:
            if other != protocol:
                raise InputError(
                    f"protocol '{self.protocol}' trains for {protocol.length} epochs on {first} decoded images per "
                    f"class and for {other.length} on {count}; set one --length for all, or compare them apart."
                )
        return protocol

    def _preset(self, method: str) -> str | None:
        """The preset asked for, where the method has it; baselines without it take their own."""
        from limbeck.registry import method as find

        found = find(method)
        return None if self.preset is not None and found.baseline and self.preset not in found.presets else self.preset


def show_comparison(comparison: Comparison, methods: Collection[str], out: Path, as_json: bool, command: str) -> Path:
    """Print a comparison and write its page; the page's path."""
    page = out / "report.html"
    rows = [row for row in comparison.rows if row.method in methods]
    # A set has a row for each kind of labels.
    folders = dict.fromkeys(out / f"{row.method}-ipc{row.ipc}-seed{seed}" for row in rows for seed in row.seeds)
    runs = [read_run(folder) for folder in folders]
    write_page(page, runs, comparison, f"{', '.join(methods)} on {comparison.data}", command, files=True)
    if as_json:
        print_json({**comparison.as_plain(), "report": str(page)})
    else:
        from rich.console import Console

        Console().print(comparison_table(comparison))
        note(f"report: {page}")
    return page
