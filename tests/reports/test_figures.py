"""Figures: what is drawn can be found in them, and nothing global changes."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

import limbeck as lb
from limbeck.data.splits import Data
from limbeck.methods.idc import idc
from limbeck.reports.canvas import data_uri
from limbeck.reports.comparison import Row
from limbeck.reports.figures import (
    FULL,
    _smoothed,
    accuracy_bars,
    loss_curves,
    method_colours,
    rate_curves,
    step_curves,
)
from limbeck.reports.runs import Run, read_run


def row(method: str, ipc: int, accuracies: tuple[float, ...]) -> Row:
    return Row(method, ipc, 64 * ipc, 10 * ipc, accuracies, 1.0, 2.0, (0,))


ROWS = (
    row("random", 1, (0.5, 0.6)),
    row("idc", 1, (0.7,)),
    row("random", 10, (0.8, 0.9)),
    row("idc", 10, (0.9, 0.92)),
    replace(row(FULL, 0, (0.97,)), training_images=1293),
)


@pytest.fixture(scope="module")
def run(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = idc("digits", factor=1).with_(
        curriculum__iterations=1, curriculum__steps=3, pool__network="convnet1:width=4"
    )
    folder = tmp_path_factory.mktemp("runs") / "run"
    lb.distill(recipe, digits, ipc=1, out=folder, settings=lb.Settings(progress="quiet"))
    return read_run(folder)


def texts(svg: bytes) -> set[str]:
    """What is written in a picture; matplotlib leaves it in comments beside the drawn letters."""
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode(), flags=re.DOTALL)}


def fills(svg: bytes) -> set[str]:
    return set(re.findall(r"fill: (#[0-9a-f]{6})", svg.decode()))


def size(svg: bytes) -> tuple[float, float]:
    root = ElementTree.fromstring(svg)
    width, height = (float(root.attrib[name].removesuffix("pt")) for name in ("width", "height"))
    return width / 0.75, height / 0.75


def test_bars_carry_their_values_in_percent() -> None:
    assert {"55.0", "70.0", "85.0", "91.0", "all 1,293 real images: 97.0"} <= texts(accuracy_bars(ROWS))
    assert {"random", "idc", "1 image per class", "10 images per class"} <= texts(accuracy_bars(ROWS))


def test_methods_keep_their_colours_in_every_figure(run: Run) -> None:
    colours = method_colours(["a", "idc", FULL, "a"])
    assert list(colours) == ["a", "idc", FULL]
    assert colours["idc"].lower() in fills(accuracy_bars(ROWS, colours))
    curves = loss_curves([run], colours)
    assert f"stroke: {colours['idc'].lower()}" in curves.decode()


def test_more_methods_than_colours_are_hatched() -> None:
    many = [row(f"method{number}", 1, (0.5, 0.6)) for number in range(14)]
    colours = method_colours(entry.method for entry in many)
    assert colours["method0"] == colours["method10"]
    plain, hatched = (accuracy_bars(many[:count], width=900).count(b"<pattern") for count in (10, 14))
    assert (plain, hatched) == (0, 4)


def test_groups_without_room_go_below_each_other() -> None:
    many = [row(f"method{number}", ipc, (0.5,)) for ipc in (1, 10) for number in range(5)]
    narrow, wide = (size(accuracy_bars(many, width=width)) for width in (350, 1000))
    assert (narrow[0], wide[0]) == pytest.approx((350, 1000), abs=0.5)
    assert narrow[1] > wide[1] + 250


def test_whiskers_are_drawn_for_more_than_one_network_only() -> None:
    one, two = (accuracy_bars([row("idc", 1, values)]) for values in ((0.5,), (0.4, 0.6)))
    assert b"LineCollection" not in one
    assert b"LineCollection" in two


def test_names_are_neither_hidden_nor_read_as_formulas() -> None:
    names = texts(accuracy_bars([row("_mine", 1, (0.5,)), row("$a_b$ <x>", 1, (0.5,))]))
    assert "_mine" in names
    assert any("a_b" in name and "x" in name for name in names)


def test_only_real_images_can_be_drawn_but_not_nothing() -> None:
    assert texts(accuracy_bars(ROWS[-1:])) >= {"all 1,293 real images: 97.0"}
    with pytest.raises(ValueError, match="no rows"):
        accuracy_bars([])


def curves_of(svg: bytes) -> int:
    """Number of curves, without the grid and the legend."""
    return len(re.findall(r'clip-path="[^"]*" style="fill: none; stroke: #(?!e3e7eb)', svg.decode()))


@pytest.mark.parametrize("count", [1, 5, 20])
def test_every_seed_has_a_line(run: Run, count: int) -> None:
    runs = [replace(run, losses=((1, 1.0 + seed), (2, 2.0), (3, 0.5))) for seed in range(count)]
    svg = loss_curves(runs)
    assert curves_of(svg) == count
    assert {"1 image per class", "inner step", "loss", "idc"} <= texts(svg)


def test_a_large_range_is_logarithmic(run: Run) -> None:
    narrow, wide = (loss_curves([replace(run, losses=((1, 1.0), (2, high)))]) for high in (2.0, 5000.0))
    assert "0.0" in texts(narrow)
    assert any("10^" in text for text in texts(wide))


def test_losses_that_touch_zero_stay_linear(run: Run) -> None:
    assert loss_curves([replace(run, losses=((1, 0.0), (2, 9.0)))])


def test_the_logged_losses_are_what_is_drawn(run: Run) -> None:
    assert [step for step, _ in run.losses] == [1, 2, 3]
    assert loss_curves([run])


def test_an_axis_begins_at_zero_unless_that_hides_what_there_is_to_see(run: Run) -> None:
    near, far = (loss_curves([replace(run, losses=((1, 1.02), (2, low)))]) for low in (0.97, 0.3))
    assert not {"0.0", "0.00"} & texts(near)
    assert {"0.0", "0.00"} & texts(far)


@pytest.mark.parametrize(("lines", "curves"), [(99, 1), (100, 2), (500, 2)])
def test_a_long_log_is_smoothed_over_what_was_logged(run: Run, lines: int, curves: int) -> None:
    svg = loss_curves([replace(run, losses=tuple((10 * step, 1.0 + step % 2) for step in range(lines)))])
    assert curves_of(svg) == curves


def test_smoothing_is_the_mean_over_neighbours() -> None:
    line = [float(value) for value in range(500)]
    found = _smoothed(line)
    assert len(found) == 500 and found[0] == 0.0
    # Of what lies on a line the centred mean is the value itself; up to ten values are there on each side.
    assert found[:490] == pytest.approx(line[:490])
    noisy = _smoothed([float(value % 2) for value in range(500)])
    assert max(abs(value - 0.5) for value in noisy[20:]) < 0.06


def test_learned_step_sizes_have_a_figure_of_their_own(run: Run) -> None:
    rates = ((1, 0.01), (2, 0.012), (3, 0.013))
    with pytest.raises(ValueError, match="logged a step size"):
        rate_curves([run])
    svg = rate_curves([run, replace(run, rates=rates), replace(run, rates=((1, -0.01), (2, 0.002)))])
    assert curves_of(svg) == 2
    assert {"1 image per class", "inner step", "step size", "idc"} <= texts(svg)


def test_runs_without_losses_draw_nothing(run: Run) -> None:
    for runs in ([replace(run, losses=())], []):
        with pytest.raises(ValueError, match="logged a loss"):
            loss_curves(runs)


def test_equal_figures_are_equal_bytes(run: Run) -> None:
    assert accuracy_bars(ROWS) == accuracy_bars(ROWS)
    assert loss_curves([run]) == loss_curves([run])


def test_png_is_drawn_at_two_pixels_for_one(run: Run) -> None:
    content = accuracy_bars(ROWS, width=400, form="png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.width == 800
    curves = loss_curves([run], width=400, form="png")
    assert curves.startswith(b"\x89PNG")


def test_data_uris_decode_to_the_picture() -> None:
    content = accuracy_bars(ROWS)
    head, _, body = data_uri(content, "svg").partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body) == content
    assert data_uri(b"x", "png").startswith("data:image/png;base64,")


def test_no_global_state_is_touched() -> None:
    before = dict(matplotlib.rcParams)
    accuracy_bars(ROWS)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_figures_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    accuracy_bars(ROWS)
    assert not list(tmp_path.iterdir())


def test_anything_is_drawn_over_steps_beside_what_it_is_compared_with(run: Run) -> None:
    pairs = [((1, 1.0), (2, 2.0)), ()]
    svg = step_curves([run, run], pairs, "distance", beside=("others", [((1, 3.0), (2, 50.0)), ()]))
    assert {"distance", "others", "inner step"} <= texts(svg)
    assert svg.count(b"stroke-dasharray") == 2  # the line and the legend
    alone = step_curves([run, run], pairs, "distance")
    assert b"stroke-dasharray" not in alone and "others" not in texts(alone)
    # What it is compared with counts for the axis, which is logarmithic for it.
    assert curves_of(alone) == 1
    with pytest.raises(ValueError, match="logged a distance"):
        step_curves([run], [()], "distance")
