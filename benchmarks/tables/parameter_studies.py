"""Parameter studies of the papers, as far as they print figures."""

from __future__ import annotations

from benchmarks.campaign.cells import Table
from benchmarks.tables.from_papers import printed

__all__ = ["tables"]


def tables() -> list[Table]:
    """All of them."""
    return printed(
        "study", {"DREAM, table 5": "clusters, and images of each", "DSDM, text": "the weight of covariances"}
    )
