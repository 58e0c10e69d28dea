"""The table of DASM, tiny: every row, every prefix, and the figures that its claims are checked by."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables import dasm
from limbeck.data import load
from limbeck.evaluation.diversity import DiversityProtocol
from limbeck.evaluation.protocols import limbeck
from tests.engine.tiny import NETWORK, tiny_idc


def test_rows_have_equal_outer_iterations_and_differ_in_their_windows() -> None:
    made = dasm.recipes()
    assert list(made) == ["idc", "dasm-easy-to-hard", "dasm-random-parts", "dasm-all-hard", "dasm-all-all"]
    base, *orders = made.values()
    for recipe in orders:
        sizes = recipe.curriculum.segments(dasm.IPC)  # type: ignore[union-attr]
        lengths = [recipe.curriculum.of_segment(dasm.IPC, number).length() for number in range(len(sizes))]  # type: ignore[union-attr]
        assert sizes == (10,) * 5 and sum(lengths) == base.curriculum.length()  # type: ignore[union-attr]
        assert recipe.with_(curriculum__order="easy_to_hard") == orders[0]


def test_every_figure_is_there(tmp_path: Path) -> None:
    data = load("digits")
    base = tiny_idc()
    segmented = dasm.dasm("digits", base=base).with_(
        curriculum__sizes=(1, 1), curriculum__scorers=1, curriculum__scorer_epochs=1
    )
    protocol = limbeck(networks=(NETWORK,), repeats=3, data=data.spec.name, updates=1)
    measured = DiversityProtocol(network=NETWORK, epochs=0, projection="none")
    made = {"base": base, "dasm": segmented}
    found = dasm.table(data, tmp_path, made, seeds=(0, 1), protocol=protocol, diversity=measured, ipc=2)
    assert [(row["method"], len(row["accuracies"])) for row in found["comparison"]["rows"]] == [
        ("base", 6),
        ("dasm", 6),
    ]
    assert [[point["ipc"] for point in points] for points in found["prefixes"].values()] == [[1, 2]] * 2
    assert set(found["runs"]) == {f"{name}-ipc2-seed{seed}" for name in made for seed in (0, 1)}
    one = found["runs"]["dasm-ipc2-seed1"]
    assert len(one["segments"]) == 2
    assert one["diversity"]["pair_distance"] > 0 and 0 <= one["diversity"]["coverage"] <= 1
    (judged,) = found["prefixes"]["dasm-ipc2-seed1"][-1]["networks"]
    assert judged["accuracies"] == one["accuracies"]
