from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.errors import InputError, RunError
from limbeck.core.streams import Stream
from limbeck.ops.soft_labels import Compression, bytes_per_image, compress, restore

LOGITS = 4 * Stream(0).normal(50, 12).float()


def probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return F.softmax(logits.double() / temperature, dim=1)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_float32_is_exact_and_float16_is_rounded_once(temperature: float) -> None:
    exact = restore(compress(LOGITS, Compression(numbers="float32"), temperature), 12)
    assert torch.equal(exact, LOGITS)
    assert torch.equal(restore(compress(LOGITS, Compression(), temperature), 12), LOGITS.half().float())


def test_eight_bits_are_half_a_step_off_at_most() -> None:
    found = restore(compress(LOGITS, Compression(numbers="int8"), 1.0), 12)
    step = (LOGITS.amax(1) - LOGITS.amin(1)) / 254
    # Only differences within a row count: the midrange of each row is left out.
    middle = (LOGITS.amax(1) + LOGITS.amin(1)) / 2
    assert ((found - (LOGITS - middle.unsqueeze(1))).abs() <= 0.5001 * step.unsqueeze(1)).all()
    assert torch.equal(found.argmax(1), LOGITS.argmax(1))
    constant = restore(compress(torch.full((2, 5), 3.0), Compression(numbers="int8"), 1.0), 5)
    assert torch.equal(constant, torch.zeros(2, 5))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("top", [1, 5, 11])
def test_the_likeliest_keep_their_probability_and_the_rest_is_spread_evenly(top: int, temperature: float) -> None:
    kept = compress(LOGITS, Compression(numbers="float32", top=top), temperature)
    assert kept["classes"].dtype == torch.uint8 and kept["classes"].shape == (50, top)
    found, true = probabilities(restore(kept, 12), temperature), probabilities(LOGITS, temperature)
    order = true.argsort(dim=1, descending=True)
    best, others = order[:, :top], order[:, top:]
    torch.testing.assert_close(found.gather(1, best), true.gather(1, best), rtol=1e-5, atol=0)
    mean = true.gather(1, others).mean(1, keepdim=True)
    torch.testing.assert_close(found.gather(1, others), mean.expand_as(others), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(50).double())


def test_all_classes_are_no_selection() -> None:
    for top in (12, 100):
        kept = compress(LOGITS, Compression(numbers="float32", top=top), 1.0)
        assert set(kept) == {"values"} and torch.equal(kept["values"], LOGITS)


@pytest.mark.parametrize("numbers", ["float32", "float16", "int8"])
@pytest.mark.parametrize("top", [0, 3, 12])
def test_bytes_are_those_of_the_tensors(numbers: str, top: int) -> None:
    compression = Compression(numbers=numbers, top=top)  # type: ignore[arg-type]
    kept = compress(LOGITS, compression, 20.0)
    size = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    assert size == 50 * bytes_per_image(compression, 12)
    assert bytes_per_image(Compression(), 1000) == 2000
    assert bytes_per_image(Compression(top=10), 1000) == 2 * 11 + 2 * 10


def test_selection_and_eight_bits_go_together() -> None:
    kept = compress(LOGITS, Compression(numbers="int8", top=4), 20.0)
    found, true = probabilities(restore(kept, 12), 20.0), probabilities(LOGITS, 20.0)
    order = true.argsort(dim=1, descending=True)[:, :4]
    torch.testing.assert_close(found.gather(1, order), true.gather(1, order), rtol=5e-3, atol=0)


def test_logits_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(RunError, match="too large for 16 bits"):
        compress(torch.tensor([[0.0, 1e5]]), Compression(), 1.0)
    with pytest.raises(RunError, match="not finite"):
        compress(torch.tensor([[0.0, float("nan")]]), Compression(numbers="float32"), 1.0)


def test_words_of_the_command_line() -> None:
    assert Compression.parse(()) == Compression(numbers="float16", top=0)
    assert Compression.parse(("topk:10", "int8")) == Compression(numbers="int8", top=10)
    assert Compression.parse(("fp32",)) == Compression(numbers="float32")
    assert str(Compression(numbers="int8", top=10)) == "int8, top 10"
    for words, message in (
        (("fp61",), "unknown compression 'fp61'"),
        (("fp16", "int8"), "one kind of number"),
        (("topk:x",), "number of classes"),
        (("topk:0",), "number of classes"),
    ):
        with pytest.raises(InputError, match=message):
            Compression.parse(words)
    with pytest.raises(InputError, match="top >= 0"):
        Compression(top=-1).check()
    with pytest.raises(InputError, match="unknown kind of number"):
        Compression(numbers="int4").check()  # type: ignore[arg-type]
