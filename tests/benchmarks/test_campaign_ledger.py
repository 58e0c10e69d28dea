"""The ledger keeps what was measured, seed by seed, and says means and deviations of it."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaign.ledger import Ledger
from tests.benchmarks.campaign_cells import TOY, judgement, spent


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.measured(TOY) is None and not ledger.has(TOY, 0)
    ledger.add(TOY, 1, spent(8.0), judgement(0.5, 0.6, seconds=3.0))
    ledger.add(TOY, 0, spent(4.0), judgement(0.7, 0.7, seconds=1.0, note="busy"))
    for known in (ledger, Ledger(tmp_path)):
        found = known.measured(TOY)
        assert found is not None and found.seeds == (0, 1)
        assert found.means == pytest.approx((70.0, 55.0))
        assert found.mean == pytest.approx(62.5) and found.std == pytest.approx(statistics.stdev([70, 55]))
        assert found.seconds == (6.0, 2.0) and found.notes == ("busy",) and found.best == ()
        assert found.hardware == ("CPU, 1 of 2 cores",)
        assert known.distil_seconds(TOY, "cpu") == 6.0 and known.judge_seconds(TOY, "cpu") == 2.0
        assert (
            known.judge_seconds(replace(TOY, data="cifar10"), "cpu") == 2.0
        )  # of other data, where there is no better
        assert known.distil_seconds(TOY, "cuda") is None and known.judge_seconds(TOY, "cuda") is None


def test_two_campaigns_write_the_same_records(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path), Ledger(tmp_path)
    assert not one.has(TOY, 0) and not two.has(TOY, 0)  # both have read that there is nothing
    one.add(TOY, 0, spent(1.0), judgement(0.5))
    two.add(TOY, 1, spent(1.0), judgement(0.7))
    assert two.has(TOY, 0) and not one.has(TOY, 1)
    one.refresh()
    assert one.has(TOY, 1) and Ledger(tmp_path).has(TOY, 0)


def test_one_run_has_several_judgements(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path), replace(TOY, network="convnet1:width=8")
    ledger.add(TOY, 0, spent(1.0), judgement(0.5))
    assert ledger.has(TOY, 0) and not ledger.has(other, 0)
    ledger.add(other, 0, spent(1.0), judgement(0.9))
    means: list[Any] = [Ledger(tmp_path).measured(cell) for cell in (TOY, other)]
    assert [found.means for found in means] == [pytest.approx((50.0,)), pytest.approx((90.0,))]
    assert means[0].std is None


def test_cells_of_other_words_and_settings_are_apart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(TOY, 0, spent(1.0), judgement(0.5))
    for other in (
        replace(TOY, ipc=2),
        replace(TOY, words=(*TOY.words, "--optimizer.lr", "0.5")),
        replace(TOY, kind="main"),
        replace(TOY, length=6),
        replace(TOY, protocol="idc"),
    ):
        assert ledger.measured(other) is None and not ledger.has(other, 0)


def test_a_failure_is_kept(tmp_path: Path) -> None:
    Ledger(tmp_path).add(TOY, 0, {"failed": "no number"})
    found = Ledger(tmp_path).measured(TOY)
    assert found is not None and found.failed == ("no number",) and found.means == () and found.seeds == ()


def test_a_graphics_card_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(TOY, 0, spent(1.0, gpu="Some GPU"), judgement(0.5))
    found = ledger.measured(TOY)
    assert found is not None and found.hardware == ("Some GPU",)
