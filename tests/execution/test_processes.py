from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError, RunError
from limbeck.execution import processes
from limbeck.execution.processes import Processes


def sent(value: Any, folder: Path) -> Any:
    """A value as another process gets it."""
    return processes._unpack(processes._pack(value, folder / "tensors"), folder / "tensors")


def scaled(weights: dict[str, Tensor], log: Path, task: int) -> tuple[int, Tensor, int]:
    """Who did it, what came out, and how many threads there were; changes what it was given, too."""
    with log.open("a") as file:
        file.write(f"{task}\n")
    found = weights["a"] * task
    weights["a"] += 1
    torch.set_num_threads(1 + task % 2)
    time.sleep(0.3 if task == 1 else 0.0)
    return os.getpid(), found, torch.get_num_threads()


def failing(folder: Path, task: int) -> int:
    match task:
        case 1:
            raise InputError("this task cannot be done.")
        case 2 | 4:
            while task == 4 and not (folder / "begun").exists():
                time.sleep(0.02)
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case 3:
            try:
                (folder / "begun").touch()  # from here on this process may be told to stop
                time.sleep(60)
            except KeyboardInterrupt:
                (folder / "stopped").touch()
                raise
    return task


def test_results_come_in_order_from_other_processes(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3.0), "b": torch.zeros(1000, 1000)}
    kept = weights["a"].clone()
    found = list(Processes(2).map(functools.partial(scaled, weights, tmp_path / "log"), [1, 2, 3, 4]))
    pids = [pid for pid, _, _ in found]
    assert os.getpid() not in pids and 1 <= len(set(pids)) <= 2
    assert torch.equal(weights["a"], kept)
    assert sorted((tmp_path / "log").read_text().split()) == ["1", "2", "3", "4"]
    # What a task writes into what it was given, no other process sees; within one, tasks are pure by contract.
    before = {pid: 0 for pid in pids}
    for task, (pid, result, threads) in zip([1, 2, 3, 4], found, strict=True):
        torch.testing.assert_close(result, (kept + before[pid]) * task)
        before[pid] += 1
        assert threads == 1 + task % 2


def test_without_tasks_nothing_starts() -> None:
    assert list(Processes(3).map(functools.partial(failing, Path("nowhere")), [])) == []


def test_an_error_of_a_task_is_raised_here_and_stops_the_others(tmp_path: Path) -> None:
    began = time.monotonic()
    results = Processes(2).map(functools.partial(failing, tmp_path), [0, 1, 3, 3, 3])
    assert next(results) == 0
    with pytest.raises(InputError, match=r"^this task cannot be done\.$"):
        next(results)
    assert time.monotonic() - began < 50
    assert (tmp_path / "stopped").exists() == (tmp_path / "begun").exists()


def test_a_process_that_dies_is_an_error_that_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has died, killed or out of memory; the same command resumes"):
        list(Processes(1).map(functools.partial(failing, tmp_path), [0, 2, 0]))
    assert (tmp_path / "died").exists()


def test_the_others_end_when_one_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 600.0)  # nobody has to be killed
    with pytest.raises(RunError, match="has died"):
        list(Processes(2).map(functools.partial(failing, tmp_path), [3, 4]))
    assert (tmp_path / "stopped").exists()


def test_at_least_one_process() -> None:
    with pytest.raises(InputError, match=r"processes \(--processes\) must be at least 1, not 0"):
        Processes(0)


# What is sent.


def test_tensors_keep_shape_type_and_what_they_share(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    value = {
        "base": base,
        "part": base[1:3, ::2],
        "turned": base.t(),
        "split": torch.arange(9).split([2, 0, 7]),
        "none": torch.empty(0, 3),
        "flags": torch.tensor([True, False]),
        "low": torch.ones(3, dtype=torch.bfloat16),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "number": torch.tensor(2.5, dtype=torch.float64),
        "layer": torch.nn.Linear(3, 2),
        "text": ("a", 1),
    }
    back = sent(value, tmp_path)
    for name, wanted in value.items():
        for one, other in zip(_tensors(wanted), _tensors(back[name]), strict=True):
            assert one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
            assert type(one) is type(other)
    assert back["text"] == ("a", 1)
    back["base"][1, 0] = 100.0
    assert back["part"][0, 0] == 100.0 and back["turned"][0, 1] == 100.0 and base[1, 0] == 6.0
    assert (tmp_path / "tensors").stat().st_size < 40 * 4096


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, torch.nn.Module):
        yield from value.parameters()


def test_large_tensors_go_through_one_file_and_begin_at_round_addresses(tmp_path: Path) -> None:
    value = [torch.zeros(3), torch.rand(1000, 1000), torch.rand(7)]
    assert len(processes._pack(value, tmp_path / "tensors")) < 2000
    assert all(tensor.data_ptr() % 64 == 0 for tensor in sent(value, tmp_path))


def test_what_is_written_stays_in_the_process(tmp_path: Path) -> None:
    first, second = (sent({"a": torch.zeros(4)}, tmp_path) for _ in range(2))
    first["a"] += 1
    assert not second["a"].any() and not sent({"a": torch.zeros(4)}, tmp_path)["a"].any()


# Signals.

PROGRAM = """
import functools, sys
from pathlib import Path
from limbeck.execution.processes import Processes
from tests.execution.test_processes import failing

if __name__ == "__main__":
    try:
        list(Processes(1).map(functools.partial(failing, Path(sys.argv[1])), [3]))
    except KeyboardInterrupt:
        sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_others_stop_when_this_one_is_stopped_or_dies(number: signal.Signals, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    environment["TMPDIR"] = str(tmp_path)
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(number)
        process.communicate()  # until nobody holds its standard output any longer, the other process included
        assert time.monotonic() - began < 30
    assert not list(tmp_path.glob("limbeck-*"))
    assert process.returncode == (7 if number == signal.SIGINT else -signal.SIGKILL)
    assert (tmp_path / "stopped").exists() == (number == signal.SIGINT)
