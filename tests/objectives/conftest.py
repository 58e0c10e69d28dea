from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from limbeck.core.context import Context
from limbeck.data.images import ImageSet


@pytest.fixture
def context(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> Context:
    return replace(context_of(portion()), ipc=2, dtype=torch.float64)
