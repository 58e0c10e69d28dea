"""Image classifiers of timm by name, with random weights, as a `Network` (extra ``timm``).

timm is imported when a network is built or its name is looked up, never before; nothing is downloaded.
"""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import Network, Output
from limbeck.networks.map_norm import MapNorm, replace_batch_norm

__all__ = ["TimmNetwork", "require_timm_model", "timm_module"]


class TimmNetwork(Network):
    """A timm model whose last linear layer stands apart; the embedding is what this layer reads.

    Classes and input channels follow the data, and the image size where the model is made for one size. Otherwise it
    is as timm makes it, also for small images. ``blocks`` gives the embedding alone.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        model: timm's name of the model, for example ``resnet10t``.
        dropout: keep dropout and stochastic depth, where the model has them by default. Off by default, because their
            masks come from torch's global generator, which the seed of a run does not reach.
        norm: ``instance``, ``layer``, ``group`` and ``none`` take the place of a model's batch norm; ``standard`` keeps
            it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        model: str,
        dropout: bool = False,
        norm: Literal["standard", MapNorm] = "standard",
    ) -> None:
        super().__init__()
        if norm not in (known := ("standard", *get_args(MapNorm))):
            raise unknown("norm", norm, known)
        body = _create(model, shape, classes)
        if norm != "standard":
            replace_batch_norm(body, norm, shape, model)
        head = body.get_classifier()  # type: ignore[operator]
        name = next((name for name, module in body.named_modules() if module is head), None)
        if not isinstance(head, nn.Linear) or name is None or head.out_features != classes:
            raise InputError(
                f"timm's '{model}' does not end in one linear layer and has no embedding; use another model"
            )
        body.set_submodule(name, nn.Identity())
        self.body, self.classifier, self.classifier_name = body, head, name
        self.norm = norm
        for module in body.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010
            for chance in () if dropout else ("p", "drop_prob", "drop_rate"):
                if isinstance(getattr(module, chance, None), float):
                    setattr(module, chance, 0.0)

    def own_name(self, name: str) -> str:
        """What this network calls the weight that has a name in timm's model."""
        head, dot, rest = name.rpartition(".")
        return f"classifier.{rest}" if dot and head == self.classifier_name else f"body.{name}"

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        """Logits ``[B, K]``, embedding ``[B, D]``, or it as the only block or map, of images ``[B, C, H, W]``."""
        embedding = self.body(x)
        if output == "blocks":
            return (embedding,)
        if output == "layers":
            return embedding, embedding, embedding, self.classifier(embedding)
        return embedding if output == "embedding" else self.classifier(embedding)


def require_timm_model(model: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        InputError: there is none, or timm is not installed.
    """
    known = timm_module().list_models()
    if model in known:
        return
    if difflib.get_close_matches(model, known, n=1, cutoff=0.6):
        raise unknown("timm model", model, known)
    raise InputError(f"unknown timm model '{model}'; timm.list_models() lists all {len(known):,}.")


def timm_module() -> ModuleType:
    """The library itself.

    Raises:
        InputError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError("networks 'timm:NAME' need timm; install it with pip install 'limbeck[timm]'.") from error
    return timm


def _create(model: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model as timm makes it, sized for the images where it is made for one size."""
    require_timm_model(model)
    timm = timm_module()
    settings = timm.get_pretrained_cfg(model, allow_unregistered=True)
    size = {"img_size": shape[1:]} if settings is not None and settings.fixed_input_size else {}
    options: dict[str, Any] = {"pretrained": False, "num_classes": classes, "in_chans": shape[0], **size}
    try:
        return timm.create_model(model, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        images = " x ".join(map(str, shape))
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"timm's '{model}' cannot be made for images of {images} ({reason}); use another model."
        ) from error
    except NotImplementedError:
        # What is computed with tensors while a model is built is nothing that the meta device can do.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return timm.create_model(model, **options)
