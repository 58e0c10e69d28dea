from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from limbeck.formats.native import load
from tests.cli.conftest import Command


def test_an_image_folder(limbeck: Command, finished: Path) -> None:
    done = limbeck("export", finished, "pictures")
    assert done.status == 0
    assert (done.out, done.err) == ("", "written to pictures\n")
    assert len(list(Path("pictures/train").rglob("*.png"))) == 10


def test_an_npz_file_as_json(limbeck: Command, finished: Path) -> None:
    done = limbeck("export", finished, "set", "--to", "npz", "--no-decoded", "--json")
    assert done.json == {"written": "set.npz", "to": "npz", "decoded": False}
    images = np.load("set.npz")["images"]
    assert np.array_equal(images, load(finished).stored.flatten(0, 1).numpy())


def test_jpeg_files_come_with_a_warning(limbeck: Command, finished: Path) -> None:
    done = limbeck("export", finished, "pictures", "--jpeg", "75", "--json")
    assert done.json == {"written": "pictures", "to": "imagefolder", "decoded": True, "jpeg": 75}
    assert "alphabetical order" in done.err and "not the images that were distilled" in done.err
    assert len(list(Path("pictures").glob("new00?/*.jpg"))) == 10


def test_nothing_is_overwritten(limbeck: Command, finished: Path) -> None:
    for words in (["set.npz", "--to", "npz"], ["pictures"]):
        assert limbeck("export", finished, *words).status == 0
        done = limbeck("export", finished, *words)
        assert done.status == 2
        assert "exists already" in done.sentence


@pytest.mark.parametrize("words", [["nothing", "out"], ["nothing", "out", "--to", "npz"]])
def test_what_is_no_run_is_refused(words: list[str], limbeck: Command) -> None:
    done = limbeck("export", *words)
    assert done.status == 2
    assert "is no folder" in done.sentence
    assert not Path("out").exists()


def test_a_target_below_a_file_is_a_sentence(limbeck: Command, finished: Path) -> None:
    Path("file").write_text("mine")
    done = limbeck("export", finished, "file/out")
    assert done.status == 1
    assert "file" in done.sentence


def test_an_unknown_form_ends_with_status_2(limbeck: Command, finished: Path) -> None:
    done = limbeck("export", finished, "out", "--to", "zip")
    assert done.status == 2
    assert "Traceback" not in done.err


def test_a_report_of_one_and_of_several_runs(limbeck: Command, finished: Path) -> None:
    shutil.copytree(finished, "again")
    done = limbeck("report", finished)
    assert done.status == 0
    assert done.err == "report: report.html\n"
    assert "idc" in Path("report.html").read_text(encoding="utf-8")
    done = limbeck("report", finished, "again", "--out", "deep/both.html", "--json")
    assert done.json == {"written": "deep/both.html", "runs": ["idc, digits, IPC 1, seed 0"] * 2}
    assert "2 distilled sets" in Path("deep/both.html").read_text(encoding="utf-8")


def test_a_page_is_replaced_only_when_asked(limbeck: Command, finished: Path) -> None:
    Path("report.html").write_text("mine")
    done = limbeck("report", finished)
    assert done.status == 2
    assert "--overwrite" in done.sentence
    assert Path("report.html").read_text() == "mine"
    assert limbeck("report", finished, "--overwrite").status == 0
    assert Path("report.html").read_text(encoding="utf-8") != "mine"


def test_a_report_needs_runs(limbeck: Command) -> None:
    done = limbeck("report")
    assert done.status == 2
    assert "at least one folder" in done.sentence
    done = limbeck("report", "nothing")
    assert done.status == 2
    assert "is no folder" in done.sentence


def test_a_damaged_log_is_a_sentence(limbeck: Command, finished: Path) -> None:
    shutil.copytree(finished, "again")
    Path("again/log.jsonl").write_text("{")
    done = limbeck("report", "again")
    assert done.status == 2
    assert "log.jsonl is damaged" in done.sentence
