"""What the memory of trajectory matching is judged by, and that it is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import trajectory
from benchmarks.memory.trajectory import growth, judged, too_large


def cells(*peaks: float, vector: float = 0.1) -> dict[int, dict[str, Any]]:
    return {
        10 * 2**place: {"peak_mb": peak, "parameter_mb": vector, "seconds": 1.0} for place, peak in enumerate(peaks)
    }


def test_growth_is_that_of_the_largest() -> None:
    assert growth(cells(5.0)) is None
    assert growth(cells(5.0, 5.5, 7.5)) == pytest.approx(0.1)
    assert growth({**cells(5.0, 5.5), 80: {"skipped": "too large"}}) == pytest.approx(0.05)


def test_one_vector_a_step_is_enough() -> None:
    assert judged({"adjoint": cells(5.0, 6.0, 8.0)}) == []
    assert judged({"unroll": cells(50.0, 100.0, 200.0)}) == []
    (line,) = judged({"adjoint": cells(5.0, 8.0, 13.0)})
    assert line.startswith("adjoint adds 0.250 MB")
    # However large the network, no more than 20 MB.
    assert judged({"adjoint": cells(50.0, 230.0, 590.0, vector=15.0)}) == []
    assert len(judged({"adjoint": cells(50.0, 260.0, 680.0, vector=15.0)})) == 1
    assert judged({"tesla": {10: {"failure": "out of memory"}}}) == ["tesla, 10 steps: out of memory"]


def test_what_would_not_fit_is_not_tried() -> None:
    two = cells(560.0, 1120.0)
    assert too_large(cells(560.0), 20, 100.0) is None
    assert too_large(two, 40, 3000.0) is None
    reason = too_large(two, 80, 3000.0)
    assert reason is not None and "4480 MB" in reason


@pytest.mark.skipif(sys.platform != "linux", reason="reads peaks from /proc")
def test_it_runs_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--engines", "adjoint", "--steps", "1", "3", "--width", "4", "--side", "8", "--batch", "2"]
    assert trajectory.main([*words, "--threads", "1", "--out", str(tmp_path / "memory.json")]) in (0, 1)
    found = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))
    assert set(found["cells"]["adjoint"]) == {"1", "3"}
    assert all(cell["peak_mb"] >= 0 and cell["seconds"] > 0 for cell in found["cells"]["adjoint"].values())
    assert "adjoint" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads peaks from /proc")
def test_the_exact_gradient_keeps_one_vector_a_step(tmp_path: Path) -> None:
    words = ["--engines", "adjoint", "--steps", "20", "80", "--width", "32", "--side", "16", "--batch", "8"]
    assert trajectory.main([*words, "--threads", "1"]) == 0
