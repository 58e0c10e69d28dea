"""What is asked for becomes what is done; programs fall back when they cannot be compiled."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest
import torch
from torch import Tensor

from limbeck.core import execution
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, ExecutionSettings, Program, can_compile

CPU = torch.device("cpu")


def test_long_work_is_compiled_and_short_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "can_compile", lambda device: True)
    short, long = (ExecutionSettings().resolve(CPU, torch.float32, flops) for flops in (1e9, 1e15))
    assert (short.compile, long.compile) == (False, True)
    assert not ExecutionSettings(compile="off").resolve(CPU, torch.float32, 1e15).compile
    assert ExecutionSettings(compile="on").resolve(CPU, torch.float32, 0.0).compile
    # Float64 is for checking formulas.
    assert not ExecutionSettings().resolve(CPU, torch.float64, 1e15).compile


def test_without_a_compiler_steps_run_eagerly_unless_compiling_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(execution.shutil, "which", lambda name: None)
    assert not can_compile(CPU)
    assert not ExecutionSettings().resolve(CPU, torch.float32, 1e15).compile
    with pytest.raises(InputError, match="--compile off"):
        ExecutionSettings(compile="on").resolve(CPU, torch.float32, 1e15)


def test_what_is_asked_for_is_taken() -> None:
    found = ExecutionSettings(microbatch=7, precision="bfloat16").resolve(CPU, torch.float32, 0.0, "vmap")
    assert found == Execution(microbatch=7, precision="bfloat16", blocks="vmap")
    assert ExecutionSettings(microbatch=0).resolve(CPU, torch.float32, 0.0).microbatch == 0


def test_networks_are_side_by_side_where_it_is_asked_for_or_a_gpu() -> None:
    def together(asked: int | Literal["auto"], device: str, networks: int) -> int:
        found = ExecutionSettings(together=asked).resolve(torch.device(device), torch.float32, 0.0, networks=networks)
        assert found.functional == (found.together > 1)
        return found.together

    assert [together("auto", "cpu", 5), together(3, "cpu", 5), together(9, "cpu", 5)] == [1, 3, 5]
    assert together("auto", "cuda", 5) == 5 and together("auto", "cuda", 100) < 100
    assert together(4, "cpu", 1) == 1
    with pytest.raises(InputError, match=r"\(--together\) must be auto or at least 1, not 0"):
        ExecutionSettings(together=0)


@pytest.mark.parametrize(
    "precision, dtype, blocks, microbatch, said",
    [
        ("bfloat16", torch.float64, "auto", 0, "float64"),
        ("bfloat16", torch.float32, "concat", 0, "--blocks loop"),
        ("float32", torch.float32, "auto", -2, "--microbatch"),
    ],
)
def test_contradictions_are_refused(
    precision: str, dtype: torch.dtype, blocks: str, microbatch: int, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ExecutionSettings(precision=precision, microbatch=microbatch).resolve(CPU, dtype, 0.0, blocks)


def _doubled(x: Tensor) -> Tensor:
    return 2 * x


def _counted(x: Tensor) -> Tensor:
    print(end="")  # a side effect, which cannot be part of one graph
    return torch.full((int(x.sum()),), 3.0)


@pytest.mark.skipif(not can_compile(CPU), reason="there is no C++ compiler")
def test_a_program_is_compiled_or_runs_eagerly_with_a_warning() -> None:
    x = torch.arange(3.0)
    assert torch.equal(Program(_doubled, "doubling")(x), 2 * x)
    program = Program(_counted, "counting")
    with pytest.warns(RuntimeWarning, match="counting could not be compiled and runs eagerly"):
        assert torch.equal(program(x), torch.full((3,), 3.0))
    assert torch.equal(program(x), torch.full((3,), 3.0))  # without a second warning
    torch.compiler.reset()


def test_what_is_wrong_with_the_arguments_is_said_by_the_function() -> None:
    with pytest.raises(ZeroDivisionError):
        Program(lambda x: x / (1 // 0), "dividing")(torch.ones(1))


def test_memory_may_be_kept() -> None:
    """In a process of its own, since it cannot be undone: what is freed is mapped once, not at every step."""
    script = """
import resource, torch
from limbeck.core.execution import use_allocator
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    for _ in range(3):
        torch.ones(20_000_000)
found = []
for kind in ("default", "keep"):
    use_allocator(kind)
    step(); before = faults(); step(); found.append(faults() - before)
print(*found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    default, kept = map(int, done.stdout.split())
    assert kept < default / 10


def test_keeping_memory_needs_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(execution.ctypes, "CDLL", missing)
    with pytest.raises(InputError, match="glibc"):
        execution.use_allocator("keep")
    execution.use_allocator("default")
