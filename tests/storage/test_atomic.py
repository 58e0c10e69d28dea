from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from limbeck.storage.atomic import replacing, replacing_folder, write_bytes, write_text


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_bytes_makes_folders_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file.bin"
    write_bytes(file, b"one, longer")
    write_bytes(file, b"two")
    assert file.read_bytes() == b"two"
    assert listing(file.parent) == ["file.bin"]


def test_write_text_is_utf8_with_the_given_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "été\r\nβ\n")
    assert (tmp_path / "note.txt").read_bytes() == "été\r\nβ\n".encode()


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_replacing_shows_the_old_file_until_the_end_and_keeps_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "table.npz"
    file.write_text("old")
    with replacing(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
        assert temporary.parent == tmp_path and temporary.suffix == ".npz" and temporary != file
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_nothing_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(error), replacing(file) as temporary:
        temporary.write_text("half")
        raise error
    assert file.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_replacing_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass
    assert listing(tmp_path) == []


def test_everything_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths))[1])
    write_bytes(tmp_path / "file", b"x")
    assert events[:2] == ["fsync", "replace"]


def test_replacing_folder_swaps_the_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    folder.mkdir()
    (folder / "stale").write_text("old")
    with replacing_folder(folder) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("new")
        assert listing(folder) == ["stale"]
    assert listing(folder) == ["deep"]
    assert (folder / "deep" / "file").read_text() == "new"
    assert listing(tmp_path) == ["entry"]


def test_replacing_folder_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    folder.mkdir()
    (folder / "file").write_text("old")
    with pytest.raises(ValueError), replacing_folder(folder) as temporary:
        (temporary / "file").write_text("half")
        raise ValueError
    assert listing(tmp_path) == ["entry"]
    assert (folder / "file").read_text() == "old"


def test_replacing_folder_puts_the_old_one_back_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "entry"
    folder.mkdir()
    (folder / "file").write_text("old")
    rename = os.rename
    calls: list[str] = []

    def failing(source: str, target: str) -> None:
        calls.append(Path(target).name)
        if len(calls) == 2:
            raise PermissionError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(PermissionError), replacing_folder(folder) as temporary:
        (temporary / "file").write_text("new")
    assert (folder / "file").read_text() == "old"
    assert listing(tmp_path) == ["entry"]


def test_folders_replaced_at_once_end_whole(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                with replacing_folder(folder) as temporary:
                    (temporary / "a").write_text(str(number))
                    (temporary / "b").write_text(str(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert listing(tmp_path) == ["entry"]
    assert (folder / "a").read_text() == (folder / "b").read_text()
