from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limbeck.cli.main import main
from tests.engine.tiny import FLAGS

TINY = [*FLAGS, "--progress", "quiet", "--device", "cpu"]
"""Flags of a run that takes a fraction of a second."""


@dataclass(frozen=True)
class Done:
    """What a command line has left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which holds JSON and nothing else."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one sentence of an error; nothing else is printed."""
        assert self.out == ""
        assert self.err.startswith("limbeck: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.removeprefix("limbeck: ").strip()


Command = Callable[..., Done]


@pytest.fixture
def limbeck(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Done:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the command line; must not be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main(["distill", "idc", *TINY, "--ipc", "1", "--out", str(out)]) == 0
    return out
