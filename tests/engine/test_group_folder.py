from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from limbeck.core.context import Group
from limbeck.engine.group_folder import GroupFolder, Learnt

GROUP = Group(number=3, labels=range(2), images=range(1, 2))
LEARNT = Learnt(
    stored=torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0)),
    lines=[],
    seconds=1.5,
    loss=0.25,
    steps=7,
)


def test_a_finished_group_is_read_back(tmp_path: Path) -> None:
    folder = GroupFolder(tmp_path / "groups")
    assert folder.read(GROUP) is None and not folder.finished(GROUP)
    folder.journal(GROUP).log({"step": 1})
    folder.write(GROUP, LEARNT)
    found = folder.read(GROUP)
    assert found is not None and folder.finished(GROUP)
    assert torch.equal(found.stored, LEARNT.stored)
    assert replace(found, stored=LEARNT.stored) == LEARNT
    # What the group wrote on its way is gone.
    assert sorted(path.name for path in (tmp_path / "groups").iterdir()) == ["000003.safetensors"]
    folder.remove()
    assert not (tmp_path / "groups").exists()


def test_a_damaged_group_is_learnt_again(tmp_path: Path) -> None:
    folder = GroupFolder(tmp_path)
    folder.write(GROUP, LEARNT)
    (tmp_path / "000003.safetensors").write_bytes(b"no group")
    assert folder.read(GROUP) is None and not folder.finished(GROUP)


def test_what_groups_begin_with_is_made_once(tmp_path: Path) -> None:
    folder, made = GroupFolder(tmp_path), []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"weight": torch.ones(2)}

    for _ in range(2):
        assert torch.equal(folder.prepared(make, torch.device("cpu"))["weight"], torch.ones(2))
    assert len(made) == 1
