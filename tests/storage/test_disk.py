from __future__ import annotations

import shutil
from pathlib import Path

from limbeck.storage.disk import free_bytes


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert abs(free_bytes(tmp_path / "a" / "b") - free) < 1e9
