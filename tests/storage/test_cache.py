from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.storage.cache import cache_root


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LIMBECK_CACHE", "~/here")
    assert cache_root() == tmp_path / "here"
    for unset in ("", None):
        monkeypatch.delenv("LIMBECK_CACHE") if unset is None else monkeypatch.setenv("LIMBECK_CACHE", unset)
        assert cache_root() == tmp_path / ".cache" / "limbeck"
