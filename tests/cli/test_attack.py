from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from limbeck.cli.attack import AttackOptions
from limbeck.core.errors import InputError
from tests.cli.conftest import Command

QUICK = ["--networks", "mlp", "--length", "3", "--progress", "quiet", "--device", "cpu", "--metrics", "robustness"]
QUICK += ["--epsilons", "8/255", "0.1", "--attack-steps", "2", "--attack-images", "20"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_budgets_are_fractions_or_numbers() -> None:
    assert AttackOptions().attack().epsilons == (2 / 255, 4 / 255, 8 / 255)
    assert AttackOptions(epsilons=("0.5",), attack_steps=3).attack().steps == 3
    for wrong in ("2/0", "many"):
        with pytest.raises(InputError, match=f"fractions or numbers, for example 2/255 4/255 8/255, not {wrong}"):
            AttackOptions(epsilons=(wrong,)).attack()


def test_what_is_printed_is_what_is_written(limbeck: Command, run: Path) -> None:
    pytest.importorskip("art")
    found = limbeck("evaluate", run, *QUICK, "--json").json["robustness"]
    file = Path(found.pop("file"))
    assert json.loads(file.read_text()) == found
    assert [point["epsilon"] for point in found["points"]] == [0.0, 8 / 255, 0.1]
    means = [point["mean"] for point in found["points"]]
    assert means == sorted(means, reverse=True)
    assert found["images"] == 20 and len(found["networks"][0]["clean"]) == 3
    done = limbeck("evaluate", run, *QUICK)
    assert "8/255, %" in done.out and "not attacked, %" in done.out


def test_an_attack_without_its_metric_is_refused(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, "--attack-steps", "3")
    assert done.status == 2
    assert "add --metrics robustness" in done.sentence
