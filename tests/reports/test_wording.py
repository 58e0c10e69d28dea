from __future__ import annotations

from dataclasses import replace

from limbeck.core.plain import encode
from limbeck.evaluation.protocols import Protocol, dc
from limbeck.reports.wording import enumeration, machine_in_words, protocol_in_words, steps_in_words

PROTOCOL = Protocol(name="tiny", networks=("mlp",), repeats=1, budget="updates", length=3)


def test_a_protocol_with_nesterov_says_so() -> None:
    protocol = replace(PROTOCOL, training=replace(PROTOCOL.training, nesterov=True))
    assert "SGD with Nesterov momentum 0.9" in " ".join(protocol_in_words(encode(protocol), [7]))
    assert "Nesterov" not in " ".join(protocol_in_words(encode(PROTOCOL), [7]))


def test_a_protocol_that_forgets_its_velocity_says_so() -> None:
    (first, second, *_) = protocol_in_words(encode(dc(networks=("mlp",), repeats=2)), [7])
    assert first.startswith("2 fresh networks of mlp for every set") and "301 epochs" in first
    assert second.endswith("multiplied by 0.1 after 50 % of the training, where the velocity starts from zero again.")


def test_words_are_enumerated() -> None:
    assert [enumeration("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_records_are_in_words() -> None:
    hardware = {"gpu": None, "device": "cpu", "cores": 1, "threads": 2, "system": "Linux", "machine": "x86_64"}
    assert machine_in_words(hardware) == "CPU, Linux x86_64, 1 core, 2 threads"
    execution = {"compile": True, "precision": "float32", "blocks": "loop", "microbatch": 32, "allocator": "keep"}
    said = "compiled, convolutions in float32, classes by loop, 32 images a pass, freed memory kept"
    assert steps_in_words(execution) == said
    assert machine_in_words({}) == steps_in_words({}) == ""
