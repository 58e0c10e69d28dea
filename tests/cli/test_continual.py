import json
from pathlib import Path

import pytest

from limbeck.cli.main import main

WORDS = ["continual", "random", "dm", "--steps", "2", "--ipc", "1", "--orders", "2", "--length", "20"]
SHORT = ["--networks", "convnet2:width=8", "--progress", "quiet", "--curriculum.iterations", "2"]


def test_a_table_and_a_picture_come_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *SHORT, "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "random" in table and "average" in table
    page = (tmp_path / "report.html").read_text()
    assert "Orders of the classes" in page and "with 5; " in page.replace("with 10", "with 5")
    assert main([*WORDS, *SHORT, "--out", str(tmp_path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [entry["method"] for entry in plain["methods"]] == ["random", "dm"]
    assert [stage["classes"] for stage in plain["methods"][1]["stages"]] == [5, 10]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["continual"], "name at least one method"),
        (["continual", "dm", "dm"], "a method is named twice"),
        (["continual", "random", "--objective.metric", "mse"], "change no baseline"),
        (["continual", "random", "--steps", "9"], "10 classes cannot come in 9 steps"),
    ],
)
def test_wrong_words_end_with_a_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
