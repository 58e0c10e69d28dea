"""From times to ratios, and from ratios to a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.speed.contender import Sample

__all__ = [
    "MATRIX_UNITS",
    "MEMORY",
    "PEERS",
    "SECONDS",
    "STRETCH",
    "TARGETS",
    "Ratios",
    "matrix_units",
    "misses",
    "ratios",
    "stretches",
    "summary",
]

PEERS = ("oracle", "oracle-allocator", "apart")
"""With whom the product is compared; of these the first is judged."""

TARGETS = {
    "idc_matching": {"float32": 2.0, "bfloat16": 5.5},
    "dream_clustering": {"float32": 3.5, "bfloat16": 9.0},
    "dc_matching": {"float32": 2.0, "bfloat16": 5.0},
    "dsa_matching": {"float32": 2.0, "bfloat16": 5.0},
    "dm_matching": {"float32": 2.0, "bfloat16": 5.5},
    "dsdm_matching": {"float32": 2.8, "bfloat16": 7.5},
    "mtt_matching": {"float32": 1.6, "bfloat16": 4.0},
    "tesla_matching": {},
    "dwa_recovery": {"float32": 2.0, "bfloat16": 6.0},
    "network_update": {"float32": 1.7, "bfloat16": 4.0},
    "evaluation": {"float32": 1.7, "bfloat16": 4.0},
    "ensemble": {},
}
"""How many times as fast as the oracle each step is to be; nothing where a step is shown and not judged."""

STRETCH = {"mtt_matching": {"float32": 2.3}}
"""What a step would reach that computes nothing twice: reported beside the target, and not judged."""

MEMORY = {"dream_clustering": 1 / 5}
"""Largest share of the oracle's peak memory, whole processes compared."""

SECONDS = {"cold": 40.0, "warm": 5.0}
"""Most seconds for compiling what a step needs: for the first time, and from the cache on the disk."""

MATRIX_UNITS = 5.0
"""bfloat16 is judged where its convolutions are that many times as fast as those in float32."""


@dataclass(frozen=True)
class Ratios:
    """Times of the oracle over those of the product.

    Args:
        wall: of the least wall times.
        paired: the median of the ratios round by round.
        cpu: of the least processor times.
    """

    wall: float
    paired: float
    cpu: float

    @property
    def judged(self) -> float:
        """The lowest of the three."""
        return min(self.wall, self.paired, self.cpu)


def ratios(oracle: Sequence[Sample], product: Sequence[Sample]) -> Ratios:
    """Ratios of rounds that were run in turn.

    Args:
        oracle: its steps, round by round.
        product: the product's, of the same rounds.
    """
    pairs = list(zip(oracle, product, strict=True))
    return Ratios(
        wall=min(one.wall for one in oracle) / min(one.wall for one in product),
        paired=statistics.median(one.wall / other.wall for one, other in pairs),
        cpu=min(one.cpu for one in oracle) / min(one.cpu for one in product),
    )


def matrix_units(limits: dict[str, float]) -> str | None:
    """Why bfloat16 is not judged on a machine with these convolution limits by format, or None."""
    times = limits["bfloat16"] / limits["float32"]
    if times >= MATRIX_UNITS:
        return None
    return f"not judged: this CPU's bf16 convolutions are only {times:.1f} times its float32 ones"


def summary(step: dict[str, Any]) -> dict[str, Any]:
    """What follows from the times of one step, as far as its contenders lived.

    Args:
        step: ``contenders`` by name, and ``warm`` if the product was started again; each has ``first`` and ``rounds``.

    Returns:
        ``ratios`` of the oracle, and of the product's other peers, to the product, ``compile_seconds`` by kind (a
        first step less the fastest one) and ``peak_bytes`` of each contender.
    """
    contenders = step["contenders"]
    rounds = {name: [Sample(**sample) for sample in one["rounds"]] for name, one in contenders.items()}
    found: dict[str, Any] = {"ratios": {}, "compile_seconds": {}}
    found["peak_bytes"] = {name: some[-1].peak_bytes for name, some in rounds.items()}
    for peer in PEERS:
        for name in ("float32", "bfloat16"):
            if peer in rounds and name in rounds:
                key = name if peer == "oracle" else f"{name} to {peer}"
                each = ratios(rounds[peer], rounds[name])
                found["ratios"][key] = {**asdict(each), "judged": each.judged}
    for kind, one in (("cold", contenders.get("float32")), ("warm", step.get("warm"))):
        if one is not None:
            found["compile_seconds"][kind] = one["first"]["wall"] - min(sample.wall for sample in rounds["float32"])
    return found


def stretches(name: str, step: dict[str, Any]) -> list[str]:
    """A line for each ratio of a step that has a further goal, which is not judged.

    Args:
        name: the step.
        step: its record, with what `summary` found.
    """
    return [
        f"{name} {format}: {step['ratios'][format]['judged']:.2f} times as fast as the oracle, further goal {goal} "
        "(not judged)"
        for format, goal in STRETCH.get(name, {}).items()
        if format in step["ratios"]
    ]


def misses(name: str, step: dict[str, Any], limits: dict[str, float]) -> list[str]:
    """A line for each target of a step that is missed, and for each contender that died.

    Args:
        name: the step.
        step: its record, with what `summary` found.
        limits: FLOP/s of convolutions by format.
    """
    lines = [f"{name}: {text}" for text in step["failures"].values()]
    for format, target in TARGETS.get(name, {}).items():
        if format not in step["ratios"] or (format == "bfloat16" and matrix_units(limits)):
            continue
        reached = step["ratios"][format]["judged"]
        if reached < target:
            lines.append(f"{name} {format}: {reached:.2f} times as fast as the oracle, target {target}")
    peak = step["peak_bytes"]
    if name in MEMORY and {"oracle", "float32"} <= set(peak):
        share = peak["float32"] / peak["oracle"]
        if share > MEMORY[name]:
            lines.append(f"{name} float32: {share:.2f} of the oracle's peak memory, target {MEMORY[name]:.2f}")
    for kind, seconds in step["compile_seconds"].items():
        if seconds > SECONDS[kind]:
            lines.append(f"{name} float32: {seconds:.1f} s to compile {kind}, target {SECONDS[kind]:.0f} s")
    return lines
