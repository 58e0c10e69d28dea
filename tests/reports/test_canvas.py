from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from limbeck.reports.canvas import canvas, data_uri, images_per_class, legend_line, lightened, literal, plain, written

LONG = "dream (sampler=representative, initializer=clustered, pool.network=convnet3:width=32)"


def drawn(legend: list[Any], width: int = 350, across: int = 1, down: int = 1) -> tuple[bytes, list[Any]]:
    figure, axes = canvas(down, width, 200, legend, below=50, across=across)
    for axis in axes:
        plain(axis)
    return written(figure, "svg"), axes


def height(svg: bytes) -> float:
    found = re.search(rb'<svg [^>]*?height="([\d.]+)pt"', svg)
    assert found
    return float(found[1]) / 0.75


def test_axes_have_the_size_asked_for_whatever_the_legend() -> None:
    few, axes = drawn([legend_line("a", "red")])
    many, _ = drawn([legend_line(f"a long enough name {number}", "red") for number in range(8)])
    assert height(many) > height(few) + 60
    box = axes[0].get_position()
    assert box.height * height(few) == pytest.approx(200, abs=1)


def test_axes_stand_in_rows() -> None:
    _, axes = drawn([], width=1000, across=2, down=2)
    corners = [(axis.get_position().x0, axis.get_position().y1) for axis in axes]
    assert corners[0][1] == corners[1][1] > corners[2][1] == corners[3][1]
    assert corners[0][0] == corners[2][0] < corners[1][0] == corners[3][0]


def test_a_long_label_is_broken_where_there_is_no_room_and_stays_inside() -> None:
    for width, broken in ((350, True), (1000, False)):
        figure, _ = canvas(1, width, 200, [legend_line(LONG, "red")], below=50)
        (legend,) = figure.legends
        (text,) = legend.get_texts()
        assert ("\n" in text.get_text()) == broken
        assert text.get_text().replace("\n", " ") == LONG
        right = text.get_window_extent().x1 * 96 / figure.dpi
        assert right <= width
        bottom = legend.get_window_extent().y0
        assert bottom > figure.axes[0].get_window_extent().y1


def test_names_are_neither_hidden_nor_formulas() -> None:
    assert literal("_a") == " _a"
    assert literal("$x$") == r"\$x\$"
    assert legend_line("_a", "red").get_label() == " _a"


def test_equal_figures_are_equal_bytes() -> None:
    assert drawn([legend_line("a", "red")])[0] == drawn([legend_line("a", "red")])[0]


def test_colours_are_mixed_with_white() -> None:
    assert lightened("#000000", 0.25) == (0.25, 0.25, 0.25)
    assert lightened("#ff0000", 0.0) == (1.0, 0.0, 0.0)


def test_one_image_is_no_images() -> None:
    assert [images_per_class(ipc) for ipc in (1, 10)] == ["1 image per class", "10 images per class"]


def test_a_data_uri_holds_the_picture() -> None:
    head, _, body = data_uri(b"<svg/>", "svg").partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body) == b"<svg/>"
