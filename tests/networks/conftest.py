"""Descriptions of data sets that hold no data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from limbeck.core.real import DataSpec, Normalization


@pytest.fixture
def spec() -> Callable[..., DataSpec]:
    """Builds a spec from ``(C, H, W)`` and a number of classes."""

    def make(channels: int = 3, height: int = 32, width: int = 32, classes: int = 10) -> DataSpec:
        normalization = Normalization((0.0,) * channels, (1.0,) * channels)
        labels = tuple(f"class {index}" for index in range(classes))
        return DataSpec("toy", channels, height, width, labels, normalization, "none")

    return make
