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
from limbeck.methods.idc import idc
from limbeck.reports.growth import Growth, GrowthPoint, accuracy_curves, growths
from limbeck.reports.runs import Run


def curve(*points: tuple[int, float, tuple[float, ...]], **changes: Any) -> dict[str, Any]:
    """A curve as it is written: step, seconds and accuracies of each point."""
    written = [
        {
            **{"step": step, "iteration": step // 10, "seconds": seconds, "mean": statistics.fmean(reached)},
            "networks": [{"network": "a", "accuracies": list(reached)}],
        }
        for step, seconds, reached in points
    ]
    return {"protocol": {"name": "tiny", "length": 3}, "seed": 0, "points": written, **changes}


@pytest.fixture
def run(digits: Data) -> Run:
    distilled = Distilled(torch.zeros(10, 1, 1, 8, 8), digits.spec, idc("digits"), 0)
    return Run(Path("run"), distilled, {}, (), ())


FIRST = curve((0, 1.0, (0.1, 0.3)), (10, 5.0, (0.6, 0.8)))
SECOND = curve((0, 2.0, (0.4, 0.4)), (10, 7.0, (0.5, 0.7)))


def test_seeds_are_averaged_and_deviate(run: Run) -> None:
    runs = [replace(run, curves=(FIRST,)), replace(run, curves=(SECOND,)), run]
    ((found,),) = growths(runs, ["idc", "idc", "idc"])
    assert (found.label, found.ipc, found.data, found.protocol, found.runs) == ("idc", 1, "digits", "tiny", 2)
    assert [point.step for point in found.points] == [0, 10]
    assert [point.seconds for point in found.points] == [1.5, 6.0]
    assert [point.mean for point in found.points] == pytest.approx([0.3, 0.65])
    assert [point.std for point in found.points] == pytest.approx([statistics.stdev([0.2, 0.4]), 0.0707106781])
    assert [point.networks for point in found.points] == [4, 4]


def test_one_seed_deviates_by_its_networks(run: Run) -> None:
    ((found,),) = growths([replace(run, curves=(FIRST,))], ["idc"])
    assert found.points[0].std == pytest.approx(statistics.stdev([0.1, 0.3]))
    ((alone,),) = growths([replace(run, curves=(curve((0, 1.0, (0.5,))),))], ["idc"])
    assert (alone.points[0].std, alone.points[0].networks) == (0.0, 1)


def test_a_run_judged_twice_is_still_one_seed(run: Run) -> None:
    twice = replace(run, curves=(FIRST, replace_seed(SECOND, 1)))
    ((found,),) = growths([twice], ["idc"])
    assert found.runs == 1
    assert found.points[0].mean == pytest.approx(0.3)
    assert found.points[0].std == pytest.approx(statistics.stdev([0.1, 0.3, 0.4, 0.4]))
    assert found.points[0].seconds == 1.0


def replace_seed(written: dict[str, Any], seed: int) -> dict[str, Any]:
    return {**written, "seed": seed}


def test_what_cannot_be_compared_is_kept_apart(run: Run, digits: Data) -> None:
    longer = {**FIRST, "protocol": {"name": "tiny", "length": 4}}
    elsewhere = {**FIRST, "data": "photos"}
    found = growths([replace(run, curves=(FIRST, longer, elsewhere))], ["idc"])
    assert [figure[0].data for figure in found] == ["digits", "digits", "digits, judged on photos"]
    ten = replace(run, distilled=replace(run.distilled, stored=torch.zeros(10, 10, 1, 8, 8)))
    other = curve((0, 1.0, (0.2,)), (20, 2.0, (0.4,)))
    runs = [replace(run, curves=(FIRST,)), replace(ten, curves=(FIRST,)), replace(run, curves=(other,))]
    (figure,) = growths(runs, ["idc", "idc", "idc"])
    assert [(line.ipc, line.points[-1].step, line.runs) for line in figure] == [(1, 10, 1), (10, 10, 1), (1, 20, 1)]
    (figure,) = growths([replace(run, curves=(FIRST,)), replace(run, curves=(SECOND,))], ["a", "b"])
    assert [line.label for line in figure] == ["a", "b"]
    assert growths([run], ["idc"]) == []


def line(label: str, ipc: int = 1, std: float = 0.01) -> Growth:
    points = tuple(
        GrowthPoint(step=step, seconds=seconds, mean=mean, std=std, networks=3)
        for step, seconds, mean in ((0, 1.0, 0.3), (50, 30.0, 0.6), (100, 60.0, 0.7))
    )
    return Growth(label, ipc, "digits", "tiny", 3, points)


def texts(svg: bytes) -> set[str]:
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode(), flags=re.DOTALL)}


def lines(svg: bytes, colour: str) -> list[list[tuple[float, float]]]:
    """Corners of the lines of a colour inside the axes, without whiskers."""
    found = re.findall(rf'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: {colour}', svg.decode())
    paths = [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in found]
    return [path for path in paths if len(path) > 2]


def test_every_line_is_drawn_over_steps_and_over_seconds() -> None:
    svg = accuracy_curves([line("idc"), line("dream", 10)], {"idc": "#123456", "dream": "#654321"})
    assert {"inner step", "seconds of distilling", "test accuracy, %", "1 image per class", "idc", "dream"} <= texts(
        svg
    )
    for colour in ("#123456", "#654321"):
        by_steps, by_seconds = lines(svg, colour)
        assert len(by_steps) == len(by_seconds) == 3
        # Half of the steps take 29 of 59 seconds from the first point on.
        for path, share in ((by_steps, 0.5), (by_seconds, 29 / 59)):
            assert (path[1][0] - path[0][0]) / (path[2][0] - path[0][0]) == pytest.approx(share, abs=1e-3)
            assert (path[0][1] - path[1][1]) / (path[0][1] - path[2][1]) == pytest.approx(0.75, abs=1e-3)


def test_whiskers_show_the_deviation_where_there_is_one() -> None:
    assert b"LineCollection" in accuracy_curves([line("idc")])
    assert b"LineCollection" not in accuracy_curves([line("idc", std=0.0)])


def test_lines_that_meet_stand_beside_each_other() -> None:
    svg = accuracy_curves([line("a"), line("b")], {"a": "#123456", "b": "#654321"})
    first, second = (lines(svg, colour)[0] for colour in ("#123456", "#654321"))
    assert [right[0] - left[0] for left, right in zip(first, second, strict=True)] == pytest.approx([3.5 * 0.75] * 3)
    assert [point[1] for point in first] == [point[1] for point in second]
    # Over seconds they stand where they are.
    first, second = (lines(svg, colour)[1] for colour in ("#123456", "#654321"))
    assert first == second


def test_on_a_phone_the_axes_stand_below_each_other() -> None:
    def box(width: int) -> tuple[float, float]:
        svg = accuracy_curves([line("idc")], width=width).decode()
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert found
        return float(found[1]) / 0.75, float(found[2]) / 0.75

    assert box(350)[0] == pytest.approx(350, abs=1)
    assert box(350)[1] > box(1000)[1] + 250


def test_equal_curves_are_equal_bytes_and_png_is_png() -> None:
    assert accuracy_curves([line("idc")]) == accuracy_curves([line("idc")])
    assert accuracy_curves([line("idc")], form="png").startswith(b"\x89PNG")


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="no curves"):
        accuracy_curves([])


def test_curves_by_teachers_are_figures_of_their_own(run: Run) -> None:
    teachers = [{"teacher": {"weights": name}} for name in ("a", "b")]
    curves = (FIRST, *(curve((0, 1.0, (0.5,)), labels=teacher) for teacher in teachers))
    found = growths([replace(run, curves=curves)], ["idc"])
    assert [growth.protocol for (growth,) in found] == ["tiny", "tiny, soft labels", "tiny, soft labels"]
