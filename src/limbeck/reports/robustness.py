"""What networks reach under attack: its file and a table for the terminal."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.core.distilled import Distilled
from limbeck.core.execution import Precision
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.evaluation.robustness import Robustness
from limbeck.reports.runs import as_text, judged_by, robustness_file
from limbeck.reports.tables import listing, spread
from limbeck.storage.atomic import write_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["robustness_as_plain", "robustness_table", "write_robustness"]


def robustness_as_plain(found: Robustness) -> dict[str, Any]:
    """As plain data: mean and deviation at each budget, from 0 on, and every network."""
    return {
        "protocol": encode(found.protocol),
        "attack": {"name": "pgd", "norm": "inf", **encode(found.attack), "toolbox": found.toolbox},
        "seed": found.seed,
        "images": found.images,
        "points": [{"epsilon": epsilon, "mean": mean, "std": std} for epsilon, mean, std in found.points()],
        "networks": [encode(entry) for entry in found.networks],
        "seconds": found.seconds,
    }


def write_robustness(
    folder: Path,
    found: Robustness,
    distilled: Distilled,
    judges: DataSpec | None = None,
    precision: Precision = "float32",
    labels: str = "",
) -> Path:
    """Write what networks reach under attack beside the set, atomically; the file's path.

    Args:
        folder: of the set.
        found: what came out.
        distilled: the set.
        judges: the data whose test images were attacked; those of the set by default.
        precision: number format of the networks' convolutions.
        labels: digest of the soft labels, where there are any.
    """
    plain, elsewhere = judged_by(robustness_as_plain(found), distilled, judges)
    name = robustness_file(found.protocol, found.attack, found.seed, distilled.storage, elsewhere, precision, labels)
    write_text(folder / name, as_text(plain))
    return folder / name


def robustness_table(found: Robustness, title: str = "") -> Table:
    """Accuracy of each architecture at each budget.

    Args:
        found: what came out.
        title: what was attacked.
    """
    about = f"protocol {found.protocol.name}, {found.images:,} test images, PGD of {found.attack.steps} steps"
    columns = ["network", "not attacked, %", *(f"{_budget(epsilon)}, %" for epsilon in found.attack.epsilons)]
    rows = []
    for entry in found.networks:
        attacked = [spread(values) for values in zip(*entry.accuracies, strict=True)]
        rows.append([entry.network, spread(entry.clean), *attacked])
    return listing(columns, rows, f"{title}: {about}" if title else about)


def _budget(epsilon: float) -> str:
    """In grey levels where it is a number of them."""
    levels = Fraction(epsilon * 255).limit_denominator(1000)
    return f"{levels}/255" if levels.denominator == 1 else f"{epsilon:g}"
