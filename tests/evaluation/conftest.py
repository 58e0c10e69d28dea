from __future__ import annotations

import pytest

from limbeck.data import Data, load


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits")
