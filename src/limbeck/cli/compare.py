"""``limbeck compare``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
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
from limbeck.labelers.by_pool import ByPool
from limbeck.reports.budget import largest_ipc, parse_bytes
from limbeck.reports.compare import LabelChoice, compare
from limbeck.reports.comparison import Comparison
from limbeck.reports.differences import difference_table
from limbeck.reports.matrix import matrix_table, on_network
from limbeck.reports.page import write_page
from limbeck.reports.runs import read_run
from limbeck.reports.tables import comparison_table

__all__ = ["BASELINES", "Compare", "show_comparison"]

BASELINES = ("random", "herding", "kcenter", "forgetting")
"""Coresets that every method has to beat."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Put methods and baselines in one table: equal cost, one protocol, several seeds.

    Everything that is done lies in --out and is not done again when the command is repeated. Changes of a recipe
    (--with, --SLOT.FIELD) apply to every method that is no baseline.
    """

    methods: tyro.conf.Positional[tuple[str, ...]]
    """Methods, for example: idc dream. Baselines (random, herding, kcenter, forgetting) are added."""
    baselines: bool = True
    """Whether all four baselines stand in the table, with the kinds of labels that the methods have."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    ipc: tuple[int, ...] | None = None
    """Stored images per class, one or several; 10 by default."""
    budget: str | None = None
    """Bytes that a set may have instead, images and labels together, for example 64KiB: every method has the most
    images per class that fit."""
    cut_after: float | None = None
    """Seconds after which distilling is cut, between two inner steps; the images are judged as they are then. Baselines
    take as long as they take."""
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
    """Architectures ('limbeck list networks') that are trained on the sets."""
    distill_networks: tuple[str, ...] = ()
    """Architectures that look while images are learnt: every method distils with each, instead of its own, and
    networks of all --networks are trained on each set, which makes a matrix."""
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
        if self.ipc is not None and self.budget is not None:
            raise InputError(
                "--budget says how many bytes a set may have, and --ipc how many images; give one of them."
            )
        ipcs = () if self.budget is not None else (10,) if self.ipc is None else self.ipc
        budget = None if self.budget is None else parse_bytes(self.budget)
        if (budget is None and not ipcs) or len(set(ipcs)) < len(ipcs):
            raise InputError("--ipc takes one or several different numbers, for example --ipc 1 10.")
        name = preset_name(self.data, self.load.classes)
        recipes = self._recipes(name, swaps, fields)
        found = [make(ipc) for ipc in ipcs or (1,) for make in recipes.values()]
        if (swaps or fields) and not any(recipe.objective is not None for recipe in found):
            raise InputError("--with and --SLOT.FIELD change no baseline; name a method that learns or leave them out.")
        seeds, metrics = seeds_of(self.seeds), chosen_metrics(self.metrics)
        if "accuracy" not in metrics:
            raise InputError("a comparison always measures accuracy; use --metrics accuracy diversity.")
        data = load_data(self.data, self.load)
        if budget is not None:  # with a teacher's labels there is room for fewer, which no protocol minds
            decoded = [(make, largest_ipc(budget, method, make, data.train)) for method, make in recipes.items()]
        else:
            decoded = [(make, ipc) for make in recipes.values() for ipc in ipcs]
        counts = {make(ipc).parametrization.parts(ipc) for make, ipc in decoded}
        protocol = self._one_protocol(data.spec, counts)
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
            ipcs=ipcs,
            budget=budget,
            cut_after=self.cut_after,
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

    def _recipes(self, data: str, swaps: list[str], fields: list[str]) -> dict[str, Callable[[int], Recipe]]:
        """What is compared, by name: recipes by IPC; baselines first."""

        def make(method: str, ipc: int) -> Recipe:
            recipe = choose_recipe(method, self._preset(method), None, data, ipc)
            return recipe if recipe.objective is None else apply(recipe, swaps, fields, "limbeck compare")

        added = [name for name in BASELINES if self.baselines and name not in self.methods]
        recipes: dict[str, Callable[[int], Recipe]] = {
            name: functools.cache(functools.partial(make, name)) for name in (*added, *self.methods)
        }
        if len(set(self.distill_networks)) < len(self.distill_networks):
            raise InputError("--distill-networks takes different networks, each named once.")
        for name in self.methods if self.distill_networks else ():
            if recipes[name](1).objective is not None:
                whole = recipes.pop(name)
                recipes |= {on_network(name, one): _with_network(whole, one) for one in self.distill_networks}
        if self.baselines and any(make(1).labels_softly() for make in recipes.values()):
            # Methods with soft labels of their own are compared with baselines that carry some, too.
            recipes |= {f"{name}-labelled": _labelled(recipes[name], recipes["herding"]) for name in BASELINES}
        return recipes

    def _one_protocol(self, spec: DataSpec, counts: Collection[int]) -> Protocol:
        """How all sets are judged, of so many decoded images; refused when it would not be the same for all."""
        by_count = {
            count: for_data(self.protocol, spec, self.networks, self.repeats, decoded=count, lr=self.lr)
            for count in counts
        }
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


def _with_network(make: Callable[[int], Recipe], network: str) -> Callable[[int], Recipe]:
    """A method, by IPC, through another network."""

    @functools.cache
    def through(ipc: int) -> Recipe:
        recipe = make(ipc)
        if not hasattr(recipe.pool, "network"):
            raise InputError(
                f"'{recipe.name}' does not name the network that looks in its pool's field 'network', so that "
                "--distill-networks cannot change it; leave it out and set what it has (--pool...)."
            )
        return recipe.with_(pool__network=network)

    return through


def _labelled(make: Callable[[int], Recipe], trained: Callable[[int], Recipe]) -> Callable[[int], Recipe]:
    """A baseline whose images carry what a network says of them that was trained on all real images.

    Args:
        make: the baseline, by IPC.
        trained: a baseline that looks through such a network, for those that have none.
    """

    @functools.cache
    def labelled(ipc: int) -> Recipe:
        recipe = make(ipc)
        return recipe.with_(labeler=ByPool(), pool=recipe.pool or trained(ipc).pool)

    return labelled


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

        for table in (comparison_table(comparison), difference_table(comparison), matrix_table(comparison)):
            if table is not None:
                Console().print(table)
        note(f"report: {page}")
    return page
