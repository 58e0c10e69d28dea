"""The table on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from benchmarks.speed.judge import PEERS, TARGETS, matrix_units

__all__ = ["table"]

_MEGA = 1 << 20


def table(result: dict[str, Any]) -> Table:
    """One row for each contender of each step.

    Args:
        result: what `benchmarks.speed.run.run` gives.
    """
    limits = result["limits_flops_per_second"]
    shown = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in limits.items())
    hardware = result["hardware"]
    found = Table(
        title=f"{hardware['cpu']}, {hardware['threads']} threads; convolutions: {shown}",
        caption="Ratios: oracle / product by least wall time, median of pairs, least CPU time. Memory: peak of the "
        "process, and how much of it came after the imports. Compiling: first step less the fastest one.",
    )
    for name in ("step", "contender"):
        found.add_column(name)
    for name in ("least s", "% of limit", "wall / paired / CPU", "judged", "target", "peak MB", "compile s"):
        found.add_column(name, justify="right")
    for step, record in result["steps"].items():
        for contender in record["contenders"]:
            found.add_row(*_row(step, record, contender, limits))
        for contender in record["failures"]:
            found.add_row(step, contender, "failed")
        found.add_section()
    return found


def _row(step: str, record: dict[str, Any], contender: str, limits: dict[str, float]) -> list[str]:
    one = record["contenders"][contender]
    seconds = min(sample["wall"] for sample in one["rounds"])
    limit = limits.get(contender, limits["float32"])
    peak = record["peak_bytes"][contender]
    grown = peak - one["start"]["imports_bytes"]
    row = [step, contender, f"{seconds:.3f}", f"{100 * record['flops'] / seconds / limit:.0f}"]
    row += _ratios(step, record, contender, limits)
    row.append(f"{peak / _MEGA:.0f} (+{grown / _MEGA:.0f})")
    spent = record["compile_seconds"] if contender == "float32" else {}
    row.append(", ".join(f"{kind} {value:.1f}" for kind, value in spent.items()))
    return row


def _ratios(step: str, record: dict[str, Any], contender: str, limits: dict[str, float]) -> list[str]:
    """Three ratios, the judged one and its target; peers that are not judged show their own ratios to float32."""
    beside = contender in PEERS
    key = f"float32 to {contender}" if beside else contender
    found = record["ratios"].get(key)
    if found is None:
        return ["", "", ""]
    three = " / ".join(f"{found[kind]:.2f}" for kind in ("wall", "paired", "cpu"))
    if beside:
        return [f"float32: {three}", f"{found['judged']:.2f}", "-"]
    judged = contender == "float32" or matrix_units(limits) is None
    target = TARGETS.get(step, {}).get(contender)
    return [three, f"{found['judged']:.2f}", f"{target}" if judged and target else "not judged"]
