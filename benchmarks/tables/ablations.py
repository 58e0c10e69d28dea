"""Ablation tables of the papers: methods without some of their parts."""

from __future__ import annotations

from benchmarks.campaign.cells import Table
from benchmarks.tables.from_papers import printed

__all__ = ["tables"]


def tables() -> list[Table]:
    """All of them; table 1 of AST is part of its table 6."""
    return printed(
        "ablation",
        {
            "DREAM, table 3": "its two parts, and on other methods",
            "DSDM, table 4": "its parts, one after the other",
            "AST, table 2": "start and balance on MTT's experts",
            "AST, table 6": "how experts are trained",
            "AST, table 7": "its parts, one after the other",
            "DWA, table 3": "how weights are moved",
        },
    )
