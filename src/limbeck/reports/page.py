"""One HTML file on some runs: what came out, what it looks like, what it cost, how it was made and judged.

The file needs nothing else: pictures are inside it, and its own policy forbids a browser to fetch anything. Equal runs
give equal bytes. Every number is read from the files of the runs.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.core.recipe import SLOTS, Recipe
from limbeck.reports.canvas import Format, data_uri, images_per_class
from limbeck.reports.citations import bibtex
from limbeck.reports.compare import Comparison, Row, told_apart
from limbeck.reports.diversity import DiversityTable, class_scatter, diversity_tables
from limbeck.reports.experts import UsedExperts, experts_of, weight_changes
from limbeck.reports.figures import FULL, accuracy_bars, loss_curves, method_colours, rate_curves
from limbeck.reports.growth import Growth, accuracy_curves, growths
from limbeck.reports.labels import fields_in_words, recipe_labels
from limbeck.reports.runs import Run
from limbeck.reports.sheets import MOST_CLASSES, SMALL, sheet
from limbeck.reports.tables import (
    best_rows,
    diversity_cells,
    human_bytes,
    human_seconds,
    label_size,
    percent,
    real_cells,
    spread,
)
from limbeck.reports.wording import (
    enumeration,
    machine_in_words,
    protocol_in_words,
    steps_in_words,
    teacher_in_words,
)
from limbeck.storage.atomic import write_text

__all__ = ["write_page"]

_WIDE, _NARROW = 1000, 350
"""Widths of figures in CSS pixels: for screens and paper, and for phones."""


def write_page(
    path: Path,
    runs: Sequence[Run],
    comparison: Comparison | None,
    title: str,
    command: str | None = None,
) -> None:
    """Write the page, atomically.

    Args:
        path: the HTML file.
        runs: finished runs, at least one.
        comparison: the table that they belong to, if they were compared.
        title: heading of the page.
        command: what was typed to make it, if known.

    Raises:
        InputError: there are no runs.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if not runs:
        raise InputError("there are no finished runs to report on; give the folders of runs.")
    environment = Environment(
        loader=PackageLoader("limbeck.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = _content(Path(path), runs, comparison)
    html = environment.get_template("page.html").render(title=title, command=command, **content)
    write_text(path, html + "\n")


@dataclass(frozen=True)
class _Entry:
    """A run as the page calls it.

    Args:
        run: the run.
        label: name of its method in the comparison; the recipe's otherwise, with what tells it from its namesakes.
    """

    run: Run
    label: str

    @property
    def distilled(self) -> Distilled:
        """The set."""
        return self.run.distilled

    @property
    def learnt(self) -> bool:
        """Whether pixels were learnt, other than in a coreset."""
        return self.distilled.recipe.objective is not None


def _content(path: Path, runs: Sequence[Run], comparison: Comparison | None) -> dict[str, Any]:
    """Everything that the template shows."""
    entries = _labelled(runs, comparison)
    rows = told_apart(comparison.rows) if comparison is not None else []
    colours = method_colours([*(row.method for row in rows), *(entry.label for entry in entries)])
    leading = sorted(entries, key=lambda entry: not entry.learnt)
    cited = [key for entry in leading for key in entry.distilled.recipe.cite()]
    return {
        "summary": _summary(entries, rows),
        "findings": _findings(rows),
        "comparison": _comparison(comparison, rows, colours) if comparison is not None and rows else None,
        "architectures": _architectures(entries, comparison),
        "evaluations": _evaluations(entries),
        "growth": _growth(entries, colours),
        "diversity": _diversity(entries, colours),
        "groups": _groups(entries, comparison.rows if comparison is not None else (), colours),
        "heard": any(entry.distilled.spec.sound is not None for entry in entries),
        "experts": _experts(entries, colours),
        "losses": _losses(entries, colours),
        "rates": _rates(entries, colours),
        "skipped": _skipped(entries),
        "costs": _costs(entries, colours),
        "machines": _distinct(machine_in_words(entry.run.record.get("hardware", {})) for entry in entries),
        "steps": _distinct(steps_in_words(entry.run.record.get("execution", {})) for entry in entries),
        "versions": _distinct(_versions(entry) for entry in entries),
        "protocols": _protocols(entries, comparison),
        "seeds": enumeration(str(seed) for seed in sorted({entry.distilled.seed for entry in entries})),
        "recipes": _recipes(entries, colours),
        "bibtex": bibtex(cited),
        "folder": json.dumps(_relative(leading[0].run.folder, path.parent), ensure_ascii=False),
        "files": [_relative(entry.run.folder, path.parent) for entry in entries],
    }


def _labelled(runs: Sequence[Run], comparison: Comparison | None) -> list[_Entry]:
    """Runs by IPC, then in the order of the comparison or as given; a comparison names the folders of its runs."""
    known = list(dict.fromkeys(row.method for row in comparison.rows)) if comparison is not None else []
    entries = []
    for run, label in zip(runs, recipe_labels([run.distilled for run in runs]), strict=True):
        named = re.fullmatch(r"(.+)-ipc\d+-seed\d+", run.folder.name)
        entries.append(_Entry(run, named[1] if named and named[1] in known else label))
    order = {name: index for index, name in enumerate([*known, *(entry.label for entry in entries)][::-1])}
    return sorted(entries, key=lambda entry: (entry.distilled.ipc, -order[entry.label], entry.distilled.seed))


def _summary(entries: Sequence[_Entry], rows: Sequence[Row]) -> str:
    """What was distilled, in one sentence."""
    full = next((row for row in rows if row.method == FULL), None)
    real = f"{full.training_images:,} real training images of " if full else ""
    specs = list({entry.distilled.spec.digest: entry.distilled.spec for entry in entries}.values())
    described = []
    for spec in specs:
        described.append(
            f"{spec.name} has {real}{spec.classes} classes ({_class_names(spec.class_names)}), {_kind(spec)}, "
            f"{spec.height}\u00a0×\u00a0{spec.width} pixels"
        )
    ipcs = sorted({entry.distilled.ipc for entry in entries})
    counts = enumeration(map(str, ipcs)) + f" stored image{'' if ipcs == [1] else 's'} per class"
    methods = enumeration(dict.fromkeys(entry.label for entry in entries))
    data = enumeration(spec.name for spec in specs)
    return f"{counts}, made from {data} by {methods}; {'; '.join(described)}."


def _kind(spec: DataSpec) -> str:
    if spec.sound is not None:
        return f"spectrograms of {spec.sound.seconds:g} s of sound at {spec.sound.sample_rate:,} Hz"
    return {1: "grey", 3: "colour"}.get(spec.channels, f"{spec.channels} channels")


def _class_names(names: Sequence[str]) -> str:
    if list(names) == [str(number) for number in range(len(names))] and len(names) > 2:
        return f"{names[0]} to {names[-1]}"
    return enumeration(names) if len(names) <= 10 else f"{', '.join(names[:8])} and {len(names) - 8} more"


def _findings(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The best accuracy of every IPC, and that of all real images."""
    found = []
    for row in best_rows([row for row in rows if row.method != FULL]):
        found.append(
            {
                "value": percent(row.mean, row.std, len(row.accuracies)),
                "name": row.method,
                "note": f"best at {images_per_class(row.ipc)}, {human_bytes(row.bytes)}{_beside(row)}",
            }
        )
    for row in rows:
        if row.method == FULL:
            value = percent(row.mean, row.std, len(row.accuracies))
            note = f"{row.training_images:,} real images, {human_bytes(row.bytes)}{_beside(row)}"
            found.append({"value": value, "name": "all real images", "note": note})
    return found


def _beside(row: Row) -> str:
    """Soft labels beside the images."""
    return "" if row.label_kind == "hard" else f" and labels ({label_size(row.label_kind, row.bytes_labels)})"


def _comparison(comparison: Comparison, rows: Sequence[Row], colours: Mapping[str, str]) -> dict[str, Any]:
    best = best_rows(rows)
    table, previous = [], None
    for row in rows:
        table.append(
            {
                "ipc": str(row.ipc) if row.ipc else "–",
                "first": row.ipc != previous,
                "method": "all real images" if row.method == FULL else row.method,
                "colour": colours[row.method],
                "bytes": human_bytes(row.bytes),
                "labels": label_size(row.label_kind, row.bytes_labels),
                "images": f"{row.training_images:,}",
                "accuracy": percent(row.mean, row.std, len(row.accuracies)),
                "networks": len(row.accuracies),
                "distil": human_seconds(row.seconds) if row.ipc else "–",
                "evaluate": human_seconds(row.evaluation_seconds),
                "best": row in best,
                "selected": spread(row.selected_on_test) if row.selected_on_test else "",
            }
        )
        previous = row.ipc
    spoken = "; ".join(
        f"{'all real images' if row.method == FULL else f'{row.method}, IPC {row.ipc}'}: "
        f"{percent(row.mean, row.std, len(row.accuracies))}"
        for row in rows
    )
    figure = _figure(
        accuracy_bars(rows, colours, _WIDE),
        accuracy_bars(rows, colours, _NARROW),
        f"Test accuracy in percent. {spoken}.",
    )
    return {"rows": table, "figure": figure, "teacher": teacher_in_words(comparison.teacher, comparison.brought_by)}


def _figure(wide: bytes, narrow: bytes, spoken: str, form: Format = "svg") -> dict[str, str]:
    return {"wide": data_uri(wide, form), "narrow": data_uri(narrow, form), "alt": spoken}


def _architectures(entries: Sequence[_Entry], comparison: Comparison | None) -> dict[str, Any] | None:
    """Accuracy by architecture over all seeds, where the protocol of the comparison has more than one."""
    if comparison is None or len(comparison.protocol.networks) < 2:
        return None
    protocol, names = encode(comparison.protocol), comparison.protocol.networks
    found: dict[tuple[int, str], dict[str, list[float]]] = {}
    for entry in entries:
        for evaluation in entry.run.evaluations:
            taught = (evaluation.get("labels") or {}).get("teacher")
            if evaluation["protocol"] == protocol and taught == comparison.teacher and _live(evaluation):
                cells = found.setdefault((entry.distilled.ipc, entry.label), {})
                for network in evaluation["networks"]:
                    cells.setdefault(network["network"], []).extend(network["accuracies"])
    table = [
        {"ipc": ipc, "method": label, "cells": [spread(cells.get(name, [])) for name in names]}
        for (ipc, label), cells in found.items()
    ]
    return {"names": names, "rows": table} if table else None


def _live(evaluation: Mapping[str, Any]) -> bool:
    """Whether labels were not read from a store, as they never are in a comparison."""
    return evaluation.get("label_kind", "hard") != "stored"


def _evaluations(entries: Sequence[_Entry]) -> list[dict[str, Any]]:
    """Every accuracy that was measured."""
    return [
        {
            "method": entry.label,
            "ipc": entry.distilled.ipc,
            "seed": entry.distilled.seed,
            "protocol": evaluation["protocol"]["name"] + (f" on {evaluation['data']}" if "data" in evaluation else ""),
            "network": network["network"],
            "labels": label_size(evaluation.get("label_kind", "hard"), evaluation.get("bytes_labels", 0)),
            "lr": f"{network['lr']:g}",
            "accuracy": percent(network["mean"], network["std"], len(network["accuracies"])),
            "each": ", ".join(f"{100 * value:.2f}" for value in network["accuracies"]),
            "selected": spread(network.get("selected_on_test", ())) if network.get("selected_on_test") else "",
        }
        for entry in entries
        for evaluation in entry.run.evaluations
        for network in evaluation["networks"]
    ]


def _growth(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """One figure and table per data set and protocol, of runs whose snapshots were judged."""
    figures = []
    found = growths([entry.run for entry in entries], [entry.label for entry in entries])
    for curves in found:
        title = f"{curves[0].data}, protocol {curves[0].protocol}"
        spoken = "; ".join(map(_spoken, curves))
        figure = _figure(
            accuracy_curves(curves, colours, _WIDE),
            accuracy_curves(curves, colours, _NARROW),
            f"Test accuracy in percent against inner step and against seconds of distilling: {title}. {spoken}.",
        )
        table = [
            {
                "ipc": curve.ipc,
                "method": curve.label,
                "colour": colours[curve.label],
                "start": percent(first.mean, first.std, first.networks),
                "end": percent(last.mean, last.std, last.networks),
                "steps": f"{last.step:,}",
                "seconds": human_seconds(last.seconds),
                "runs": curve.runs,
            }
            for curve in curves
            for first, last in [(curve.points[0], curve.points[-1])]
        ]
        figures.append({"name": title if len(found) > 1 else "", "rows": table, **figure})
    return figures


def _diversity(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """One table for all sets that were measured alike, and a scatter of each method's first set."""
    found = diversity_tables([entry.run for entry in entries], [entry.label for entry in entries])
    return [
        {
            "name": f"{table.data}, seen by {table.measured['protocol']['network']}" if len(found) > 1 else "",
            "sentence": _measured(table),
            "rows": [
                {
                    "ipc": row.ipc,
                    "method": row.label,
                    "colour": colours[row.label],
                    "images": f"{row.images:g}",
                    "relative": f"{row.relative:.3f}" if row.relative is not None else "–",
                    "cells": diversity_cells(row.figures),
                    "runs": row.runs,
                }
                for row in table.rows
            ],
            "real": real_cells(table.rows[0].figures),
            "classes": _diversity_by_class(table),
            "scatters": [
                {
                    "title": f"{row.label}, {images_per_class(row.ipc)}",
                    **_scatter(row.first, row.label, table.class_names),
                }
                for row in table.rows
                if row.first["scatter"]
            ],
        }
        for table in found
    ]


def _measured(table: DiversityTable) -> str:
    measured, protocol = table.measured, table.measured["protocol"]
    kind = {
        "flattened map": "its last feature map, flattened, before any global pooling",
        "globally pooled": "its last feature map after global pooling",
        "vector": "the vector that its classifier reads",
    }[measured["features"]]
    return (
        f"Features are {measured['dimensions']:,} numbers per image: {kind}, of {protocol['network']} in evaluation "
        f"mode, trained for {protocol['epochs']} epochs on the real training images of {table.data} (seed "
        f"{measured['seed']}), of which it classifies {100 * measured['teacher_accuracy']:.1f} % correctly."
    )


def _diversity_by_class(table: DiversityTable) -> list[dict[str, Any]]:
    """Figures of single classes, of the first run of each method."""
    names = table.class_names
    return [
        {"method": row.label, "ipc": row.ipc, "class": names[label], "cells": diversity_cells(figures)}
        for row in table.rows
        for label, figures in enumerate(row.first["classes"][:MOST_CLASSES])
    ]


def _scatter(found: Mapping[str, Any], label: str, names: Sequence[str]) -> dict[str, str]:
    """Real and distilled images of some classes in a plane."""
    shown = found["scatter"]
    classes = enumeration(names[entry["label"]] for entry in shown)
    how = {"tsne": "t-SNE", "pca": "principal components"}[found["protocol"]["projection"]]
    spoken = f"Features of real and distilled images of {label} in a plane ({how}), classes {classes}."
    return {
        "how": how,
        **_figure(class_scatter(shown, names, _WIDE), class_scatter(shown, names, _NARROW), spoken, "png"),
    }


def _spoken(curve: Growth) -> str:
    reached = ", ".join(f"{100 * point.mean:.1f} at step {point.step:,}" for point in curve.points)
    return f"{curve.label}, IPC {curve.ipc}: {reached} ({human_seconds(curve.points[-1].seconds)})"


def _groups(entries: Sequence[_Entry], rows: Sequence[Row], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Pictures by data and IPC: first seeds, what was learnt before what was picked, then further seeds."""
    several = len({entry.distilled.spec.digest for entry in entries}) > 1
    grouped: dict[tuple[str, int], list[_Entry]] = {}
    for entry in entries:
        grouped.setdefault((entry.distilled.spec.digest, entry.distilled.ipc), []).append(entry)
    reached: dict[tuple[int, str], list[str]] = {}
    several_kinds = len({row.label_kind for row in rows}) > 1
    for row in rows:
        if row.method != FULL:
            kind = (", hard labels" if row.label_kind == "hard" else ", soft labels") if several_kinds else ""
            score = percent(row.mean, row.std, len(row.accuracies)) + " %" + kind
            reached.setdefault((row.ipc, row.method), []).append(score)
    groups = []
    for (_, ipc), members in grouped.items():
        first = {entry.label: entry for entry in reversed(members)}
        leading = [entry for entry in members if first[entry.label] is entry]
        further = [entry for entry in members if first[entry.label] is not entry]
        name = members[0].distilled.spec.name
        learnt = [entry for entry in leading if entry.learnt]
        large = [_shown(entry, 48 if len(learnt) == 1 else 40, colours, reached) for entry in learnt]
        heard = members[0].distilled.spec.sound is not None
        groups.append(
            {
                "title": f"{name}, {images_per_class(ipc)}" if several else images_per_class(ipc),
                "learnt": large,
                "beside": not heard
                and len(large) > 1
                and all(sheet["tiles"] or sheet["width"] < _WIDE // 2 for sheet in large),
                "picked": [_shown(entry, SMALL, colours, reached) for entry in leading if not entry.learnt],
                "further": [_shown(entry, SMALL, colours, {}, played=False) for entry in further],
            }
        )
    return groups


def _shown(
    entry: _Entry,
    least: int,
    colours: Mapping[str, str],
    reached: Mapping[tuple[int, str], Sequence[str]],
    played: bool = True,
) -> dict[str, Any]:
    """Pictures of one set, under the name and in the colour of its method."""
    scores = reached.get((entry.distilled.ipc, entry.label), ())
    return {
        "label": entry.label,
        "colour": colours[entry.label],
        **sheet(entry.distilled, least, list(scores), width=_WIDE, played=played),
    }


def _experts(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """How far the experts went in each epoch, one figure and table per data set."""
    figures = []
    by_data = _by_data(entries)
    for members in by_data:
        sets = experts_of([entry.run for entry in members], [entry.label for entry in members])
        wide, narrow = weight_changes(sets, colours, _WIDE), weight_changes(sets, colours, _NARROW)
        if wide is None or narrow is None:
            continue
        name = members[0].distilled.spec.name
        spoken = "; ".join(
            f"{used.label}: AvgVar {_average(used.experts.average_variation)[0]} over {used.experts.count} experts"
            for used in sets
        )
        figures.append(
            {
                "name": name if len(by_data) > 1 else "",
                "rows": [_expert_row(used, colours) for used in sets],
                **_figure(wide, narrow, f"Squared change of the experts' weights in each epoch for {name}. {spoken}."),
            }
        )
    return figures


def _expert_row(used: UsedExperts, colours: Mapping[str, str]) -> dict[str, Any]:
    experts = used.experts
    variation, apart = _average(experts.average_variation)
    return {
        "label": used.label,
        "ipc": enumeration(map(str, used.ipcs)),
        "colour": used.colour(colours),
        "count": experts.count,
        "epochs": max((len(changes) for changes in experts.weight_change), default=0),
        "variation": f"{variation} ± {apart}" if apart else variation,
        "accuracy": spread(experts.accuracy),
    }


def _average(values: Sequence[float]) -> tuple[str, str]:
    """Mean with four digits and sample standard deviation with as many decimals; empty where there is none."""
    if not values:
        return "–", ""
    mean = statistics.fmean(values)
    decimals = min(9, max(1, 3 - math.floor(math.log10(mean)))) if mean > 0 else 1
    return f"{mean:.{decimals}f}", f"{statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""


def _losses(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """One figure per data set."""
    figures = []
    by_data = _by_data(entries)
    for members in by_data:
        runs, labels = [entry.run for entry in members], [entry.label for entry in members]
        wide = loss_curves(runs, colours, labels, _WIDE)
        narrow = loss_curves(runs, colours, labels, _NARROW)
        if wide is not None and narrow is not None:
            name = members[0].distilled.spec.name
            final = "; ".join(
                f"{entry.run.title}: {entry.run.losses[-1][1]:.4g}" for entry in members if entry.run.losses
            )
            spoken = f"Loss against inner step for {name}. At the end: {final}."
            figures.append({"name": name if len(by_data) > 1 else "", **_figure(wide, narrow, spoken)})
    return figures


def _rates(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Learned step sizes, one figure per data set."""
    figures = []
    by_data = _by_data(entries)
    for members in by_data:
        runs, labels = [entry.run for entry in members], [entry.label for entry in members]
        wide, narrow = rate_curves(runs, colours, labels, _WIDE), rate_curves(runs, colours, labels, _NARROW)
        if wide is not None and narrow is not None:
            name = members[0].distilled.spec.name
            final = "; ".join(
                f"{entry.run.title}: {entry.run.rates[0][1]:.4g} at first, {entry.run.rates[-1][1]:.4g} at the end"
                for entry in members
                if entry.run.rates
            )
            spoken = f"Learned step size against inner step for {name}. {final}."
            figures.append({"name": name if len(by_data) > 1 else "", **_figure(wide, narrow, spoken)})
    return figures


def _skipped(entries: Sequence[_Entry]) -> list[str]:
    """Runs that did not take all of their steps."""
    lines = []
    for entry in entries:
        if entry.run.skipped:
            steps = entry.run.record.get("steps")
            name = f"{entry.label}, {entry.distilled.spec.name}, IPC {entry.distilled.ipc}, seed {entry.distilled.seed}"
            lines.append(f"{name}: {entry.run.skipped:,}" + (f" of {steps:,}" if steps else ""))
    return lines


def _by_data(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Entries of equal data together."""
    found: dict[str, list[_Entry]] = {}
    for entry in entries:
        found.setdefault(entry.distilled.spec.digest, []).append(entry)
    return list(found.values())


def _costs(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """What distilling cost, by IPC and method; only runs that have a record."""
    grouped: dict[tuple[int, str], list[Run]] = {}
    for entry in entries:
        if entry.run.record:
            grouped.setdefault((entry.distilled.ipc, entry.label), []).append(entry.run)
    table = []
    for (ipc, label), runs in grouped.items():
        records = [run.record for run in runs]
        steps = sorted({record["steps"] for record in records})
        losses = [record["final_loss"] for record in records if record["final_loss"] is not None]
        table.append(
            {
                "ipc": ipc,
                "method": label,
                "colour": colours[label],
                "runs": len(runs),
                "steps": " / ".join(f"{count:,}" if count else "–" for count in steps),
                "seconds": human_seconds(statistics.fmean(record["seconds"] for record in records)),
                "memory": human_bytes(max(record["peak_memory_bytes"] for record in records)),
                "loss": f"{statistics.fmean(losses):.4g}" if losses else "–",
            }
        )
    return table


def _versions(entry: _Entry) -> str:
    versions = entry.run.record.get("versions") or entry.distilled.identity.get("versions", {})
    return ", ".join(f"{name} {value}" for name, value in versions.items() if value)


def _protocols(entries: Sequence[_Entry], comparison: Comparison | None) -> list[dict[str, Any]]:
    """Every protocol that judged, in words; that of the comparison first."""
    found: dict[str, tuple[dict[str, Any], set[int]]] = {}
    if comparison is not None:
        plain = encode(comparison.protocol)
        found[json.dumps(plain, sort_keys=True)] = (plain, set())
    for entry in entries:
        for evaluation in entry.run.evaluations:
            plain = evaluation["protocol"]
            found.setdefault(json.dumps(plain, sort_keys=True), (plain, set()))[1].add(evaluation["test_images"])
    return [
        {"name": plain["name"], "sentences": protocol_in_words(plain, sorted(tests))} for plain, tests in found.values()
    ]


def _recipes(entries: Sequence[_Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Different recipes, what is learnt first."""
    found: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: not entry.learnt):
        recipe = entry.distilled.recipe
        key = json.dumps([entry.label, encode(recipe)], sort_keys=True)
        found.setdefault(
            key,
            {
                "label": entry.label,
                "colour": colours[entry.label],
                "learnt": entry.learnt,
                "ipcs": [],
                "about": f"{recipe.name} on {recipe.base}" if recipe.base else recipe.name,
                "slots": _slots(recipe),
            },
        )["ipcs"].append(entry.distilled.ipc)
    for shown in found.values():
        shown["ipcs"] = enumeration(str(ipc) for ipc in sorted(set(shown["ipcs"])))
    return list(found.values())


def _slots(recipe: Recipe) -> list[dict[str, Any]]:
    plain, filled = encode(recipe), dict(recipe.parts())
    return [
        {
            "slot": slot,
            "part": plain[slot]["part"] if plain[slot] is not None else "",
            "fields": fields_in_words(plain[slot]) if plain[slot] is not None else [],
            "references": ", ".join(filled[slot].references) if slot in filled else "",
        }
        for slot in SLOTS
    ]


def _relative(folder: Path, start: Path) -> str:
    """The folder as seen from the page, when it lies beside or below it; as given otherwise."""
    absolute, start = Path(os.path.abspath(folder)), Path(os.path.abspath(start))
    if absolute.is_relative_to(start):
        return absolute.relative_to(start).as_posix()
    return Path(folder).as_posix()


def _distinct(lines: Iterable[str]) -> list[str]:
    return [line for line in dict.fromkeys(lines) if line]
