from __future__ import annotations

from dataclasses import replace

from limbeck.core.plain import encode
from limbeck.evaluation.protocols import Protocol, ast_official, dc, dwa_imagenet, dwa_tiny, mtt, sre2l_cifar
from limbeck.reports.wording import (
    enumeration,
    machine_in_words,
    protocol_in_words,
    steps_in_words,
    teacher_in_words,
)

PROTOCOL = Protocol(name="tiny", networks=("mlp",), repeats=1, budget="updates", length=3)


def test_a_protocol_with_nesterov_says_so() -> None:
    protocol = replace(PROTOCOL, training=replace(PROTOCOL.training, nesterov=True))
    assert "SGD with Nesterov momentum 0.9" in " ".join(protocol_in_words(encode(protocol), [7]))
    assert "Nesterov" not in " ".join(protocol_in_words(encode(PROTOCOL), [7]))


def test_a_protocol_that_forgets_its_velocity_says_so() -> None:
    (first, second, *_) = protocol_in_words(encode(dc(networks=("mlp",), repeats=2)), [7])
    assert first.startswith("2 fresh networks of mlp for every set") and "301 epochs" in first
    assert second.endswith("multiplied by 0.1 after 50 % of the training, where the velocity starts from zero again.")


def test_soft_protocols_say_who_teaches_and_how() -> None:
    text = " ".join(protocol_in_words(encode(sre2l_cifar(teacher_mode="train")), [7]))
    for words in (
        "AdamW with betas 0.9 and 0.999, weight decay 0.01, batches of 128 and step size 0.001, falling along a cosine",
        "mixup of every batch (Beta parameter 0.8)",
        "KL divergence at temperature 30. The teacher's batch norm uses the statistics of the mixed batch.",
    ):
        assert words in text
    text = " ".join(protocol_in_words(encode(dwa_tiny()), [7]))
    assert "step size 0.2, rising over 5 epochs from 0.01 of it, falling along a cosine to 0." in text
    assert "temperature 20, times 20 squared" in text and "its running statistics" in text
    text = " ".join(protocol_in_words(encode(dwa_imagenet().hard()), [7]))
    assert "weight decay 0.01 (not of biases and norms)" in text and "teacher" not in text


def test_the_teacher_of_a_comparison_is_named() -> None:
    teacher = {"network": "convnet3", "weights": "0123456789abcdef", "bytes": 7}
    assert teacher_in_words(None, "") == ""
    assert "one teacher: convnet3 (weights 0123456789ab)" in teacher_in_words(teacher, "")
    assert "convnet3, the teacher of dwa (" in teacher_in_words(teacher, "dwa")


def test_words_are_enumerated() -> None:
    assert [enumeration("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_records_are_in_words() -> None:
    hardware = {"gpu": None, "device": "cpu", "cores": 1, "threads": 2, "system": "Linux", "machine": "x86_64"}
    assert machine_in_words(hardware) == "CPU, Linux x86_64, 1 core, 2 threads"
    execution = {"compile": True, "precision": "float32", "blocks": "loop", "microbatch": 32, "allocator": "keep"}
    said = "compiled, convolutions in float32, classes by loop, 32 images a pass, freed memory kept"
    assert steps_in_words(execution) == said
    assert machine_in_words({}) == steps_in_words({}) == ""


def test_protocols_of_trajectories_say_what_they_take_and_select() -> None:
    text = " ".join(protocol_in_words(encode(mtt()), [7]))
    assert "batches of 256 and the step size that the set has learnt, multiplied by 0.1" in text
    assert "test images are read once, at the end" in text and "selected" not in text
    text = " ".join(protocol_in_words(encode(ast_official(lr=0.02)), [7]))
    assert "the step size that the set has learnt (0.02 where it has none)" in text
    assert "velocity starts from zero again; momentum is 0.8 then." in text
    assert "every 20 later is selected on test data" in text and "read once" not in text
