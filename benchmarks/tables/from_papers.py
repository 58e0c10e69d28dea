"""What the papers' rows are in our words: methods, networks and protocols, for the tables that declare cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from benchmarks.campaign.cells import Cell, Kind
from limbeck.reports.published import Published, published

__all__ = ["Words", "cells", "rows"]

Words = tuple[str, ...]

_METHODS: dict[str, Words] = {
    "Random": ("random",),
    "Herding": ("herding",),
    "Forgetting": ("forgetting",),
    "DC": ("dc",),
    "DSA": ("dsa",),
    "IDC": ("idc",),
    "DREAM": ("dream",),
    "DM": ("dm",),
    "CAFE": ("cafe",),
    "M3D": ("m3d",),
    "DSDM": ("dsdm",),
    "MTT": ("mtt",),
    "TESLA": ("tesla",),
    "FTD": ("ftd",),
    "AST": ("ast",),
    "SRe2L": ("sre2l",),
    "DWA": ("dwa",),
    "DASM": ("dasm",),
}
"""Of others (FRePo, DataDAM) and of training on all images there is no recipe."""
_PROTOCOLS = {
    "dc": "dc",
    "dsa": "dsa",
    "dm": "dm",
    "cafe": "dsa",
    "m3d": "dsdm",
    "dsdm": "dsdm",
    "mtt": "mtt",
    "tesla": "mtt",
    "ftd": "mtt",
    "ast": "ast",
    "idc": "idc",
    "dream": "idc",
    "dasm": "idc",
}
"""How a method's authors judge; coresets are judged as DC judges them."""
