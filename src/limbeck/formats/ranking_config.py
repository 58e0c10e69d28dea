"""DD-Ranking's configuration files, as far as they say how networks are trained.

What a file says of the set and of the data is compared with what is there. What has no place here (folders, devices,
workers) is named in a note, and what would change the figures and cannot be done is refused: nothing is dropped in
silence. Keys are those of DD-Ranking 0.2.0 and of the files that its authors published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.dsa_augment import DSAAugment, Token
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.contracts import Augmentation
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.ranking import RankingProtocol
from limbeck.training.lessons import SoftLoss
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training

__all__ = ["read_ranking_config"]

_NOTED = {
    "real_data_path": "real images are those of the run or of --data",
    "teacher_dir": "the teacher is named by --taught-by",
    "teacher_model_names": "the teacher is named by --taught-by",
    "tea_use_torchvision": "the teacher is named by --taught-by",
    "random_data_path": "random images are drawn from the real ones by the seed",
    "random_data_format": "random images are drawn from the real ones by the seed",
    "custom_val_trans": "test images are seen as the data were loaded and through the normalization of the set",
    "default_lr": "step sizes are chosen on the validation part",
    "eval_full_data": "training on all real images is done once and kept",
    "num_workers": "the machine's own choice is taken",
    "device": "--device says where to compute",
    "dist": "one machine computes",
    "save_path": "results lie beside the set",
}
"""Keys without a place here, and why."""
_CHECKED = {"dataset", "ipc", "im_size", "use_zca"}
_MODEL = {"model_name", "stu_use_torchvision", "use_torchvision"}
_AUGMENTED = {"data_aug_func", "aug_params", "custom_train_trans", "use_aug_for_hard"}
_SOFT = {"label_type", "soft_label_mode", "soft_label_criterion", "loss_fn_kwargs", "temperature"}
_TRAINED = {"optimizer", "lr_scheduler", "step_size", "weight_decay", "momentum", "num_eval", "num_epochs"}
_BATCHES = {"syn_batch_size", "real_batch_size", "batch_size"}
_WEIGHTS = {"lrs_lambda", "ars_lambda"}
_KNOWN = _CHECKED | _MODEL | _AUGMENTED | _SOFT | _TRAINED | _BATCHES | _WEIGHTS | set(_NOTED)

_DSA = {
    **{"flip": 0.5, "rotate": 15.0, "saturation": 2.0, "brightness": 1.0, "contrast": 0.5, "scale": 1.2},
    **{"crop": 0.125, "cutout": 0.5},
}
"""Strengths of DSA's tokens, which are fixed here; color is saturation, brightness and contrast."""


def read_ranking_config(path: Path, distilled: Distilled) -> tuple[RankingProtocol, tuple[str, ...]]:
    """How a file wants a set to be ranked.

    Args:
        path: the YAML file.
        distilled: the set that is to be ranked.

    Returns:
        The protocol, and a note for each key that has no effect here.

    Raises:
        InputError: the file cannot be read, is made for another set, has an unknown key, or asks for what cannot be
            done.
    """
    asked = _read(path)
    unknown = sorted(set(asked) - _KNOWN)
    if unknown:
        raise InputError(f"{path} has the unknown key '{unknown[0]}'; known: {', '.join(sorted(_KNOWN))}.")
    asked = {key: value for key, value in asked.items() if value is not None}
    _check_set(path, asked, distilled)
    soft = _soft(path, asked)
    epochs, batch = int(asked.get("num_epochs", 1000)), int(asked.get("syn_batch_size", asked.get("batch_size", 256)))
    drops, schedule = _schedule(path, asked, epochs)
    base = Protocol(
        name="ddranking",
        networks=(_network(path, asked),),
        repeats=1,
        length=epochs,
        training=_training(path, asked, distilled, batch),
        drops=drops,
        drop_factor=0.1,
        schedule=schedule,
        soft=soft,
    )
    protocol = RankingProtocol(
        base=base,
        runs=int(asked.get("num_eval", 5)),
        augment_hard=bool(asked.get("use_aug_for_hard", False)),
        label_weight=float(asked.get("lrs_lambda", 0.5)),
        augmentation_weight=float(asked.get("ars_lambda", 0.5)),
        full_batch_size=int(asked.get("real_batch_size", 0)),
    )
    notes = [f"{path.name}: '{key}' has no effect, {_NOTED[key]}" for key in _NOTED if key in asked]
    if asked.get("soft_label_criterion") == "sce":
        notes.append(f"{path.name}: 'sce' is taught as 'kl', which differs by what no student can change")
    return protocol, tuple(notes)


def _read(path: Path) -> dict[str, Any]:
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"there is no file {path} to read ({error.strerror}); name a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file ({str(error).splitlines()[0]}); correct it.") from error
    if not isinstance(asked, dict) or not all(isinstance(key, str) for key in asked):
        raise InputError(f"{path} holds no keys with values; name a configuration of DD-Ranking.")
    return asked


def _check_set(path: Path, asked: Mapping[str, Any], distilled: Distilled) -> None:
    """Refuse a file that was made for another set."""
    spec = distilled.spec
    size = asked.get("im_size", [spec.height, spec.width])
    sides = [size, size] if isinstance(size, int) else list(size)
    there = {
        "dataset": (_plain(asked.get("dataset", spec.name)), _plain(spec.name)),
        "ipc": (asked.get("ipc", distilled.ipc), distilled.ipc),
        "im_size": (sides, [spec.height, spec.width]),
        "use_zca": (asked.get("use_zca", False), spec.normalization.whitening is not None),
    }
    for key, (wanted, found) in there.items():
        if wanted != found:
            raise InputError(
                f"{path} is made for another set: its '{key}' is {wanted}, and here it is {found}; change the file, or "
                "name the set that it is for."
            )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _network(path: Path, asked: Mapping[str, Any]) -> str:
    """The name of a network by that in the file: ``ConvNet-3``, ``ConvNet-4-BN``, ``ResNet-18-BN``."""
    name = str(asked.get("model_name", "ConvNet-3"))
    found = re.fullmatch(r"(ConvNet|ResNet|VGG|AlexNet|LeNet|MLP)(?:-(\d+))?(?:-(BN|IN))?", name)
    if found is None:
        raise InputError(
            f"{path} names the network '{name}', which is none of ConvNet-D, ResNet-D, VGG-D, AlexNet, LeNet and MLP, "
            "with -BN or -IN behind; leave --ranking-config out and name one of 'limbeck list networks'."
        )
    kind, depth, norm = found[1].lower(), found[2] or "", found[3]
    usual = "BN" if kind == "resnet" else "IN"
    if norm in (None, usual) or kind in ("lenet", "mlp"):
        return kind + depth
    return f"{kind}{depth}:norm={'batch' if norm == 'BN' else 'instance'}"


def _training(path: Path, asked: Mapping[str, Any], distilled: Distilled, batch: int) -> Training:
    kind = str(asked.get("optimizer", "sgd")).lower()
    if kind not in ("sgd", "adam", "adamw"):
        raise InputError(f"{path} asks for the optimizer '{kind}'; there are sgd, adam and adamw.")
    augmentation, cutmix, mixup = _augmentation(path, asked, distilled)
    return Training(
        momentum=float(asked.get("momentum", 0.9)),
        weight_decay=float(asked.get("weight_decay", 5e-4)),
        batch_size=batch,
        optimizer=kind,  # type: ignore[arg-type]
        augmentation=augmentation,
        cutmix=cutmix,
        mixup=mixup,
    )


def _augmentation(
    path: Path, asked: Mapping[str, Any], distilled: Distilled
) -> tuple[Augmentation | None, float, float]:
    """The augmentation, the probability of CutMix and the parameter of mixup."""
    kind = asked.get("data_aug_func")
    settings: dict[str, Any] = dict(asked.get("aug_params") or {})
    listed = _listed(path, asked, distilled)
    match kind:
        case None:
            return listed, 0.0, 0.0
        case "cutmix":
            if settings.get("beta", 1.0) != 1.0:
                raise InputError(f"{path} asks for CutMix with beta {settings['beta']}; there is beta 1.0.")
            return listed, float(settings.get("cutmix_p", 1.0)), 0.0
        case "mixup":
            return listed, 0.0, float(settings.get("lambda", settings.get("alpha", 0.8)))
        case "dsa":
            if listed is not None:
                raise InputError(f"{path} asks for dsa and for custom_train_trans; there is one of them at a time.")
            other = [key for key, value in settings.items() if _DSA.get(key) != value]
            if other:
                raise InputError(
                    f"{path} asks for dsa with {other[0]} {settings[other[0]]}; strengths are those of DSA, {_DSA}."
                )
            named = {"color" if key in ("saturation", "brightness", "contrast") else key for key in settings}
            return DSAAugment(tokens=tuple(one for one in get_args(Token) if not named or one in named)), 0.0, 0.0
    raise InputError(f"{path} asks for data_aug_func '{kind}'; there are dsa, mixup and cutmix.")


def _listed(path: Path, asked: Mapping[str, Any], distilled: Distilled) -> Augmentation | None:
    """What a list of torchvision's transforms is called here; None for an empty one."""
    steps = {step["name"]: dict(step.get("args") or {}) for step in asked.get("custom_train_trans") or ()}
    flip = steps.pop("RandomHorizontalFlip", None)
    crop, resized = steps.pop("RandomCrop", None), steps.pop("RandomResizedCrop", None)
    for name in ("ToTensor", "Normalize"):  # images are numbers, seen through the normalization of the set
        steps.pop(name, None)
    spec = distilled.spec
    fine = not steps and not (crop and resized) and (flip is None or flip.get("p", 0.5) == 0.5)
    sizes = [one.get("size") for one in (crop, resized) if one]
    fine = fine and all(size in (spec.height, [spec.height, spec.width]) for size in sizes)
    if not fine:
        raise InputError(
            f"{path} asks for transforms that cannot be done as they stand; there are RandomCrop with a padding or "
            "RandomResizedCrop to the size of the images, and RandomHorizontalFlip with p 0.5."
        )
    if resized is not None:
        scale = tuple(float(one) for one in resized.get("scale", (0.08, 1.0)))
        return ResizedCropFlip(scale=(scale[0], scale[1]), flip=flip is not None)
    if crop is None and flip is None:
        return None
    return CropFlip(padding=int((crop or {}).get("padding", 0)), flip=flip is not None)


def _schedule(path: Path, asked: Mapping[str, Any], epochs: int) -> tuple[tuple[float, ...], Schedule]:
    """Shares of the training after which the step size is divided by ten, and how it goes besides."""
    kind = str(asked.get("lr_scheduler", "step"))
    match kind:
        case "step":
            every = int(asked.get("step_size", max(1, epochs // 2)))
            return tuple(at / epochs for at in range(every, epochs, every)), Schedule()
        case "cosineannealing":
            return (), Schedule(kind="cosine")
        case "cosine" | "lambda_cos":
            return (), Schedule(kind="cosine_to_half")
    raise InputError(f"{path} asks for lr_scheduler '{kind}'; there are step, cosineannealing and cosine.")


def _soft(path: Path, asked: Mapping[str, Any]) -> SoftLoss | None:
    """How networks learn from a teacher; None for hard labels."""
    if asked.get("label_type") == "hard" or not ({"soft_label_mode", "soft_label_criterion"} & set(asked)):
        return None
    if asked.get("soft_label_mode", "M") != "M":
        raise InputError(
            f"{path} asks for soft labels that are stored with the images (S), which random images have none of; take "
            "soft_label_mode M, in which a teacher labels both."
        )
    criterion = asked.get("soft_label_criterion", "kl")
    if criterion not in ("kl", "sce"):
        raise InputError(f"{path} asks for soft_label_criterion '{criterion}'; there are kl and sce.")
    settings: dict[str, Any] = dict(asked.get("loss_fn_kwargs") or {})
    settings.setdefault("temperature", asked.get("temperature", 1.0))
    return SoftLoss(temperature=float(settings["temperature"]), square=bool(settings.get("scale_loss", False)))
