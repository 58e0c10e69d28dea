"""Class by class: shares of a confusion, means over networks, what is taken for what."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from limbeck.reports.classes import classes_section, confusion_map
from limbeck.reports.entries import Entry
from tests.reports.test_points import judged


def details(right: int, wrong: int, error: float) -> dict[str, Any]:
    """Ten classes, all right but the class 3, of which some are taken for 8; no image is of class 5."""
    confusion = [[10 * (row == column) for column in range(10)] for row in range(10)]
    confusion[3][3], confusion[3][8] = right, wrong
    confusion[5][5] = 0
    return {
        "confusion": confusion,
        "class_accuracies": [row[label] / sum(row) if sum(row) else None for label, row in enumerate(confusion)],
        "expected_calibration_error": error,
        "negative_log_likelihood": 1.5,
        "brier_score": 0.25,
    }


def test_there_is_no_section_without_details(entry: Callable[..., Entry]) -> None:
    assert classes_section([entry(evaluations=(judged(a=(0.5,)),))], {}) is None


def test_a_class_is_a_line_and_a_set_a_column(entry: Callable[..., Entry]) -> None:
    found = (details(6, 4, 0.1), details(8, 2, 0.2))
    section = classes_section([entry(evaluations=(judged(details=found, a=(0.9, 0.95)),))], {"idc": "#0072B2"})
    assert section is not None
    (shown,) = section
    assert [column.name for column in shown["classes"].columns] == ["Class", "idc, IPC 1, %"]
    texts = [row[1].text for row in shown["classes"].rows]
    assert texts[3] == "70.0 ± 14.1" and texts[5] == "–" and texts[8] == "100.0 ± 0.0"
    assert [row[1].bold for row in shown["classes"].rows] == [row == 3 for row in range(10)]
    (calibration,) = shown["calibration"].rows
    assert [cell.text for cell in calibration[3:]] == ["15.0 ± 7.1", "1.500 ± 0.000", "0.250 ± 0.000", "2"]
    (confusion,) = shown["confusions"]
    assert "3 for 8 in 30 %;" in confusion["figure"].alt


def test_the_map_is_dark_where_images_are_taken_for_what_they_are() -> None:
    with Image.open(io.BytesIO(confusion_map([[9, 1], [2, 8]], ["cat", "dog"], 400, "png"))) as image:
        grey = image.convert("L")
    width, height = grey.size

    def at(x: float, y: float) -> int:
        return int(grey.getpixel((int(x * width), int(y * height))))

    assert at(0.25, 0.1) < at(0.85, 0.1) and at(0.85, 0.7) < at(0.25, 0.7)
