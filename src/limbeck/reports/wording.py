"""What records and protocols say, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limbeck.reports.labels import fields_in_words

__all__ = ["enumeration", "machine_in_words", "protocol_in_words", "steps_in_words", "teacher_in_words"]


def machine_in_words(hardware: Mapping[str, Any]) -> str:
    """What a run was computed on, from its record; empty if that says nothing."""
    if not hardware:
        return ""
    place = hardware.get("gpu") or hardware["device"].upper()
    cores, threads = hardware["cores"], hardware["threads"]
    return (
        f"{place}, {hardware['system']} {hardware['machine']}, {cores} core{'' if cores == 1 else 's'}, "
        f"{threads} thread{'' if threads == 1 else 's'}"
    )


def steps_in_words(execution: Mapping[str, Any]) -> str:
    """How the steps of a run were computed, from its record; empty if that says nothing."""
    if not execution:
        return ""
    few = f", {execution['microbatch']} images a pass" if execution["microbatch"] else ""
    kept = ", freed memory kept" if execution["allocator"] == "keep" else ""
    return (
        f"{'compiled' if execution['compile'] else 'eager'}, convolutions in {execution['precision']}, classes by "
        f"{execution['blocks']}{few}{kept}"
    )


def protocol_in_words(protocol: Mapping[str, Any], tests: Sequence[int]) -> list[str]:
    """Sentences on how sets were judged.

    Args:
        protocol: as it is written beside a run.
        tests: how many test images there were, once for each count.
    """
    training = protocol["training"]
    repeats, networks = protocol["repeats"], protocol["networks"]
    unit = "epochs" if protocol["budget"] == "epochs" else "SGD steps, whatever the size of the set"
    rates = protocol["learning_rates"]
    rate = f"step size {training['lr']:g}"
    if rates:
        rate = f"a step size chosen on validation images from {enumeration(f'{value:g}' for value in rates)}"
    elif protocol.get("lr_of_set", "ignored") != "ignored":
        rate = "the step size that the set has learnt"
        rate += f" ({training['lr']:g} where it has none)" if protocol["lr_of_set"] == "preferred" else ""
    each = f" of each of {enumeration(networks)}" if len(networks) > 1 else f" of {networks[0]}"
    drops = enumeration(f"{100 * share:.0f} %" for share in protocol["drops"])
    sentences = [
        f"{repeats} fresh network{'' if repeats == 1 else 's'}{each} for every set, trained from scratch on its "
        f"decoded images for {protocol['length']:,} {unit}.",
        f"{_optimizer(training)}, batches of {training['batch_size']} and {rate}"
        + _schedule(protocol.get("schedule", {}))
        + (f", multiplied by {protocol['drop_factor']:g} after {drops} of the training" if drops else "")
        + (", where the velocity starts from zero again" if drops and protocol.get("forget") else "")
        + ("." if protocol.get("momentum_after") is None else f"; momentum is {protocol['momentum_after']:g} then."),
    ]
    augmentation = training["augmentation"]
    mixing = f"CutMix with probability {training['cutmix']:g}" if training["cutmix"] else "no CutMix"
    if training.get("mixup"):
        mixing = f"mixup of every batch (Beta parameter {training['mixup']:g})"
    if augmentation is None:
        sentences.append(f"No augmentation, {mixing}.")
    else:
        fields = "; ".join(f"{name}: {value}" for name, value in fields_in_words(augmentation))
        sentences.append(
            f"Augmentation {augmentation['part']} ({fields}), {mixing}."
            if fields
            else f"Augmentation {augmentation['part']}, {mixing}."
        )
    if protocol.get("segments") == "in_turn":
        sentences.append("Segments are shown in turn: the first one, then the first two, in the end all of them.")
    if protocol.get("soft"):
        sentences.append(_soft(protocol["soft"], protocol["teacher_mode"]))
    images = f" of all {tests[0]:,} test images" if len(tests) == 1 else " of all test images"
    looks = "test images are read once, at the end."
    if protocol.get("checked_every"):
        looks = (
            f"the best of looks at them after the first epoch and every {protocol['checked_every']} later is selected "
            "on test data, which no fair figure is, and given under that name beside it."
        )
    sentences.append(
        f"Accuracy is the share{images} that is classified correctly after the last step; {looks} Means are over all "
        "networks of all seeds; deviations are those of the seeds' means (of the networks when there is one seed)."
    )
    return sentences


def _optimizer(training: Mapping[str, Any]) -> str:
    decay = f"weight decay {training['weight_decay']:g}"
    if training.get("decay") == "matrices":
        decay += " (not of biases and norms)"
    if training.get("optimizer", "sgd") != "sgd":
        name = {"adam": "Adam", "adamw": "AdamW"}[training["optimizer"]]
        return f"{name} with betas {enumeration(f'{beta:g}' for beta in training['betas'])}, {decay}"
    momentum = "Nesterov momentum" if training.get("nesterov") else "momentum"
    return f"SGD with {momentum} {training['momentum']:g}, {decay}"


def _schedule(schedule: Mapping[str, Any]) -> str:
    """What goes behind the step size."""
    words = ""
    if schedule.get("warmup"):
        words += f", rising over {schedule['warmup']} epochs from {schedule['warmup_factor']:g} of it"
    return words + (", falling along a cosine to 0" if schedule.get("kind") == "cosine" else "")


def _soft(soft: Mapping[str, Any], mode: str) -> str:
    statistics = "its running statistics" if mode == "eval" else "the statistics of the mixed batch"
    square = f", times {soft['temperature']:g} squared" if soft["square"] else ""
    return (
        "Soft labels: networks are taught what a teacher says of every batch as they see it, augmented and mixed; KL "
        f"divergence at temperature {soft['temperature']:g}{square}. The teacher's batch norm uses {statistics}."
    )


def teacher_in_words(teacher: Mapping[str, Any] | None, brought_by: str) -> str:
    """Who gave the soft labels of a comparison; empty if nobody did.

    Args:
        teacher: its network, the digest of its weights and their bytes.
        brought_by: the method whose teacher it is; empty where it was named.
    """
    if teacher is None:
        return ""
    whose = f", the teacher of {brought_by}" if brought_by else ""
    return (
        f"All soft labels were given by one teacher: {teacher['network']}{whose} (weights "
        f"{teacher['weights'][:12]}). The size of its weights stands for that of the labels, which come from them."
    )


def enumeration(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last
