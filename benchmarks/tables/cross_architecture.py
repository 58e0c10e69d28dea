"""Cross-architecture tables of the papers: sets of one network, tested on others."""

from __future__ import annotations

from benchmarks.campaign.cells import Table
from benchmarks.tables.from_papers import printed

__all__ = ["tables"]


def tables() -> list[Table]:
    """All of them."""
    return printed(
        "cross",
        {
            "DREAM, table 4": "other networks, CIFAR-10",
            "AST, table 4": "other networks, CIFAR-10",
            "DWA, table 2": "larger networks",
            "DWA, table 4": "other networks, CIFAR-100",
            "DWA, table 5": "other networks, ImageNet",
            "DWA, table 9": "vision transformers",
        },
    )
