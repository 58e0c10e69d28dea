from __future__ import annotations

import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.data import Data
from limbeck.methods.dasm import dasm
from limbeck.reports.entries import Entry
from limbeck.reports.prefixes import PrefixPoint, prefix_curves, prefixes, prefixes_section
from limbeck.reports.runs import Run


def judged(*points: tuple[int, tuple[float, ...]], **changes: Any) -> dict[str, Any]:
    """The prefixes of a run as they are written: images per class and accuracies of each."""
    written = [
        {"ipc": ipc, "bytes": 640 * ipc, "networks": [{"network": "a", "accuracies": list(reached)}]}
        for ipc, reached in points
    ]
    return {"protocol": {"name": "tiny", "length": 3}, "seed": 0, "points": written, **changes}


@pytest.fixture
def run(digits: Data) -> Run:
    distilled = Distilled(torch.zeros(10, 4, 1, 8, 8), digits.spec, dasm("digits"), 0, segments=(2, 2))
    return Run(Path("run"), distilled, {}, (), ())


FIRST = judged((2, (0.1, 0.3)), (4, (0.6, 0.8)))
SECOND = judged((2, (0.4, 0.4)), (4, (0.5, 0.7)))


def test_seeds_are_averaged_and_deviate(run: Run) -> None:
    runs = [replace(run, prefixes=(FIRST,)), replace(run, prefixes=(SECOND,)), run]
    ((found,),) = prefixes(runs, ["dasm"] * 3)
    assert (found.label, found.data, found.protocol, found.runs) == ("dasm", "digits", "tiny", 2)
    deviation = statistics.stdev([0.2, 0.4])
    assert found.points[0] == PrefixPoint(
        ipc=2, bytes=1280, mean=pytest.approx(0.3), std=pytest.approx(deviation), networks=4
    )
    assert [point.ipc for point in found.points] == [2, 4] and found.points[1].mean == pytest.approx(0.65)


def test_other_segments_methods_and_protocols_stand_apart(run: Run) -> None:
    shorter = judged((1, (0.1,)), (4, (0.5,)))
    others = [shorter, judged((2, (0.2,)), (4, (0.3,)), data="usps"), {**FIRST, "protocol": {"name": "other"}}]
    runs = [replace(run, prefixes=(one,)) for one in (FIRST, SECOND, *others)]
    found = prefixes(runs, ["dasm", "mine", "dasm", "dasm", "dasm"])
    assert [[(curve.label, len(curve.points)) for curve in curves] for curves in found] == [
        [("dasm", 2), ("mine", 2), ("dasm", 2)],
        [("dasm", 2)],
        [("dasm", 2)],
    ]
    assert found[1][0].data == "digits, judged on usps" and found[2][0].protocol == "other"
    assert [point.ipc for point in found[0][2].points] == [1, 4]


def test_the_picture_has_every_line_and_whiskers(run: Run) -> None:
    runs = [replace(run, prefixes=(one,)) for one in (FIRST, SECOND)]
    (curves,) = prefixes(runs, ["dasm", "mine"])
    picture = prefix_curves(curves).decode()
    assert "stored images per class" in picture and "test accuracy, %" in picture
    assert "dasm" in picture and "mine" in picture
    assert prefix_curves(curves) == prefix_curves(curves)
    ticks = [float(number) for number in re.findall(r"<!-- (\d+(?:\.\d+)?) -->", picture)]
    assert {0, 2, 4} <= set(ticks) and max(ticks) > 60  # images per class, and percent: the axes hold all points
    assert prefix_curves(curves, width=350, form="png").startswith(b"\x89PNG")
    alone = prefixes([replace(run, prefixes=(judged((2, (0.1,)), (4, (0.2,))),))], ["dasm"])[0]
    assert len(prefix_curves(alone)) < len(prefix_curves(curves[:1]))  # no whiskers
    with pytest.raises(ValueError, match="no curves"):
        prefix_curves([])


def test_the_section_shows_every_point(run: Run) -> None:
    entries = [Entry(replace(run, prefixes=(one,)), "dasm") for one in (FIRST, SECOND)]
    assert prefixes_section([Entry(run, "dasm")], {"dasm": "#000000"}) is None
    section = prefixes_section(entries, {"dasm": "#000000"})
    assert section is not None
    (figure,) = section
    assert "30.0 at IPC 2, 65.0 at IPC 4" in figure["figure"].alt and figure["name"] == ""
    rows = [[cell.text for cell in row] for row in figure["table"].rows]
    assert [row[:2] for row in rows] == [["dasm", "2"], ["dasm", "4"]]
    assert rows[0][2] == "30.0 ± 14.1" and rows[0][-1] == "2"
