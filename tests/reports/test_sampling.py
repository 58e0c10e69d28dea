"""What pages say of sampled real images and of how far distilled ones moved."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.reports.entries import Entry
from limbeck.reports.page_files import shown
from limbeck.reports.sampling import Look, Watched, _quantiles, looks_of, norm_bands, sampling_section

COLOURS = {"idc": "#0072B2", "dream": "#E69F00"}


def line(step: int, mmd2: float, random_mmd2: float, factor: float = 1.0) -> dict[str, Any]:
    """A look at two classes, the second twice as far from its batch as the first."""
    norms = [factor * (value + 1) for value in range(11)]
    classes = [
        {
            **{"label": label, "images": 8 + label // 5, "mmd2": times * mmd2, "random_mmd2": times * random_mmd2},
            **{"norms": norms, "random_norms": [2 * norm for norm in norms]},
        }
        for label, times in ((0, 2 / 3), (5, 4 / 3))
    ]
    return {"step": step, "iteration": 0, "inner": step - 1, "classes": classes}


def texts(svg: bytes) -> set[str]:
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode(), flags=re.DOTALL)}


LOOKS = (line(5, 0.1, 0.3), line(10, 0.2, 0.3, 3.0))
MOVED = {"network": "convnet3", "seed": 0, "images": 10, "steps": [0, 5, 10], "seconds": [0.0, 1.0, 2.0]}


def test_a_look_is_the_mean_over_its_classes(entry: Callable[..., Entry]) -> None:
    first, second = looks_of(entry(looks=LOOKS).run)
    assert (first.step, first.images) == (5, 9)
    assert (first.mmd2, first.random_mmd2) == pytest.approx((0.1, 0.3))
    assert first.norms == (*range(1, 12), *range(1, 12)) and max(second.random_norms) == 66.0
    assert looks_of(entry().run) == ()


@pytest.mark.parametrize("damage", [{}, {"step": 1, "classes": []}, {"step": 1, "classes": [{"label": 0}]}, []])
def test_a_damaged_file_is_refused(damage: Any, entry: Callable[..., Entry]) -> None:
    with pytest.raises(InputError, match=r"watch\.jsonl is damaged; remove it") as caught:
        looks_of(entry(looks=(damage,)).run)
    assert "\n" not in str(caught.value)


def test_runs_that_nobody_watched_have_no_section(entry: Callable[..., Entry]) -> None:
    assert sampling_section([entry()], COLOURS) is None


def test_seeds_of_a_method_are_one_row(entry: Callable[..., Entry]) -> None:
    other = (line(5, 0.3, 0.5), line(10, 0.6, 0.5))
    entries = [
        entry(looks=LOOKS),
        entry(seed=1, looks=other),
        entry("dream", looks=(line(5, 0.05, 0.2),)),
        entry("dream", seed=1),
    ]
    section = sampling_section(entries, COLOURS)
    assert section is not None and section["moved"] == []
    (data,) = section["seen"]
    idc, dream = data["table"].rows
    apart = statistics.fmean([statistics.stdev([0.1, 0.2]), statistics.stdev([0.3, 0.6])])
    assert idc[3].exact == pytest.approx((0.3, apart)) and idc[4].exact == pytest.approx((0.4, 0.0))
    assert [cell.text for cell in idc[:3]] == ["1", "idc", "9"] and [cell.text for cell in idc[-2:]] == ["2", "2"]
    assert idc[5].exact == (7.0,) and idc[6].exact == (14.0,)
    assert [cell.text for cell in dream[3:]] == ["0.0500", "0.2000", "6", "12", "1", "1"]
    assert "idc, 1 image per class: 0.3000 ± 0.1414, of random batches 0.4000" in data["mmd"].alt
    assert "dream, 1 image per class: median 6 against 12" in data["norms"].alt
    assert data["name"] == ""
    drawn = data["mmd"].drawn(900, "svg")
    assert {"MMD²", "inner step", "idc", "dream", "random batches of equal size"} <= texts(drawn)
    # Three runs were watched: a line for each, a dashed one for each, and one in the legend.
    assert drawn.count(b"stroke-dasharray") == 4
    assert data["mmd"].drawn(900, "png").startswith(b"\x89PNG")
    assert [item.name for item in shown(section)] == ["sampling", "sampling-norms", "sampling"]


def watched(label: str, factor: float) -> Watched:
    look = Look(3, 4, 0.1, 0.1, (1.0, 2.0, 3.0), (1.0, factor))
    return Watched(label, 1, ((look, look), (look,)))


def test_norms_have_a_panel_for_each_method() -> None:
    svg = norm_bands([watched("idc", 2.0), watched("dream", 5.0)])
    assert {"gradient norm", "idc, 1 image per class", "dream, 1 image per class"} <= texts(svg)
    assert "random images of the class" in texts(svg)
    assert svg == norm_bands([watched("idc", 2.0), watched("dream", 5.0)])
    near, far = (norm_bands([watched("idc", factor)]) for factor in (2.0, 500.0))
    assert "0.0" in texts(near) and "0.0" not in texts(far)  # an axis of logarithms has no zero
    with pytest.raises(ValueError, match="no gradient norms"):
        norm_bands([])


def test_quantiles_are_those_of_torch() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    expected = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    assert _quantiles(values) == pytest.approx(expected.tolist())
    assert _quantiles([2.0]) == [2.0, 2.0, 2.0]


def test_images_that_moved_have_a_curve_per_run_and_a_row_per_method(entry: Callable[..., Entry]) -> None:
    entries = [
        entry(migrations=({**MOVED, "distances": [4.0, 1.0]},)),
        entry(seed=1, migrations=({**MOVED, "distances": [2.0, 1.0]},)),
        entry("dream", migrations=({**MOVED, "distances": [5.0, 0.5]}, {**MOVED, "seed": 3, "distances": [7.0, 0.5]})),
    ]
    section = sampling_section(entries, COLOURS)
    assert section is not None and section["seen"] == []
    first, other = section["moved"]
    assert first["name"] == "digits, seen by a random convnet3 (seed 0)" and other["name"].endswith("(seed 3)")
    idc, dream = first["table"].rows
    assert [cell.exact for cell in idc[2:5]] == [(3.0,), (1.0,), (4.0,)]
    assert [cell.text for cell in idc[5:]] == ["2", "2"] and dream[2].exact == (5.0,)
    assert "idc, IPC 1: 4 at first, 1 at the end; dream, IPC 1: 5 at first, 0.5 at the end" in first["figure"].alt
    assert {"distance", "inner step", "idc", "dream"} <= texts(first["figure"].drawn(900, "svg"))
    names = [item.name for item in shown(section)]
    assert names == ["migration-1", "migration-1", "migration-2", "migration-2"]
