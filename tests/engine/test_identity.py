from __future__ import annotations

import json
import re
import subprocess

import pytest
import torch

from limbeck.engine import identity


def test_versions_are_those_of_this_process() -> None:
    found = identity.versions()
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert set(found) == {"limbeck", "commit", "python", "torch", "torchvision", "numpy"}
    assert json.loads(json.dumps(found)) == found


def test_the_commit_is_a_hash_or_absent() -> None:
    commit = identity.versions()["commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?", commit)


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert identity._commit.__wrapped__() is None


def test_hardware_names_no_person_and_no_place() -> None:
    found = identity.hardware(torch.device("cpu"))
    assert set(found) == {"system", "machine", "cores", "threads", "device"}
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()


def test_peak_memory_is_in_bytes() -> None:
    # An interpreter with PyTorch takes more than 50 MB, and no test machine has 10 TB.
    assert 50e6 < identity.peak_memory_bytes(torch.device("cpu")) < 1e13
