from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream, Streams

COUNT = 20_000


def test_streams_do_not_depend_on_the_order_of_calls() -> None:
    streams = Streams(3)
    first = streams("a", 0).normal(4)
    other = streams("b", 0).normal(4)
    again = Streams(3)
    assert torch.equal(again("b", 0).normal(4), other)
    assert torch.equal(again("a", 0).normal(4), first)


def test_every_key_and_seed_has_numbers_of_its_own() -> None:
    keys: list[tuple[str | int, ...]] = [("a",), ("b",), ("a", 0), ("a", 1), ("a", 0, 1), ("a", 1, 0), ("a", 10)]
    drawn = [Streams(seed)(*key).uniform().item() for seed in (0, 1) for key in keys]  # type: ignore[arg-type]
    assert len(set(drawn)) == len(drawn)


def test_numbers_are_the_same_on_every_machine() -> None:
    # What a run file promises: a change here changes the result of every recorded run.
    stream = Streams(0)("anything", 1, 2)
    assert stream.seed == 6467926294358359429
    assert stream.permutation(5).tolist() == [3, 4, 1, 2, 0]


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    stream = Streams(0)("everything")
    stream.uniform(3)
    stream.normal(3)
    stream.integers(0, 5, 3)
    stream.permutation(3)
    stream.beta(1.0)
    stream.beta(0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_uniform_fills_the_unit_interval() -> None:
    drawn = Stream(0).uniform(COUNT)
    assert drawn.dtype == torch.float64
    assert drawn.min() >= 0 and drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(1 / 2, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.005)


def test_normal_has_mean_zero_and_variance_one() -> None:
    drawn = Stream(0).normal(COUNT)
    assert drawn.dtype == torch.float64
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.var().item() == pytest.approx(1, abs=0.05)


def test_integers_include_both_ends() -> None:
    drawn = Stream(0).integers(-2, 1, COUNT)
    assert drawn.dtype == torch.int64
    shares = [(drawn == value).double().mean().item() for value in range(-2, 2)]
    assert shares == pytest.approx([0.25] * 4, abs=0.02)
    assert Stream(0).integers(3, 3).item() == 3


def test_permutation_holds_everything_once() -> None:
    assert Stream(0).permutation(50).sort().values.tolist() == list(range(50))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_beta_has_the_mean_and_variance_of_the_distribution(alpha: float) -> None:
    streams = Streams(0)
    drawn = torch.tensor([streams("beta", number).beta(alpha) for number in range(2000)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(1 / 2, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.015)


def test_shapes() -> None:
    stream = Stream(0)
    assert stream.uniform().shape == ()
    assert stream.uniform(2, 3).shape == (2, 3)
    assert stream.normal(2, 3).shape == (2, 3)
    assert stream.integers(0, 1, 4).shape == (4,)
