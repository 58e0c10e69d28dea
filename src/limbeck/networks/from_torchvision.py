"""Any classification model of torchvision, with random weights, as a `Network`.

torchvision is imported when a network is built, never before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import Network, Output
from limbeck.networks.map_norm import MapNorm, replace_batch_norm
from limbeck.networks.token_norm import use_batch_norm

__all__ = ["TorchvisionNetwork", "model_names", "require_model"]

SMALL_SIDE = 64
"""Up to this many pixels an image gets the small stem."""


class TorchvisionNetwork(Network):
    """A torchvision model whose last linear layer stands apart; the embedding is what this layer reads.

    Classes and input channels follow the data. A first convolution that is replaced starts from the
    framework's defaults. ``blocks`` gives the embedding alone.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        model: torchvision's name of the model, for example ``resnet18``.
        stem: ``small`` gives a ResNet a 3x3 first convolution of stride 1 and no max pooling, as usual for
            CIFAR; ``standard`` keeps the model as it is; ``auto`` is ``small`` up to 64 pixels. Other
            families keep theirs.
        dropout: keep dropout and stochastic depth. Off by default, because their masks come from torch's
            global generator, which the seed of a run does not reach.
        norm: ``batch`` turns a ViT or Swin with layer norm into one with batch norm over images and tokens, with one
            more in each feed-forward block (appendix A.2.3 of DWA); ``instance``, ``layer``, ``group`` and ``none``
            take the place of a model's batch norm; ``standard`` keeps the model's own.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        model: str,
        stem: Literal["auto", "small", "standard"] = "auto",
        dropout: bool = False,
        norm: Literal["standard", "batch", MapNorm] = "standard",
    ) -> None:
        super().__init__()
        if stem not in ("auto", "small", "standard"):
            raise unknown("stem", stem, ("auto", "small", "standard"))
        if norm not in (known := ("standard", "batch", *get_args(MapNorm))):
            raise unknown("norm", norm, known)
        body = _create(model, shape, classes)
        resnet = isinstance(body, _models().ResNet)
        if stem == "small" and not resnet:
            raise InputError(f"stem=small exists for torchvision's ResNets only, not for '{model}'; use stem=auto")
        small = resnet and (stem == "small" or (stem == "auto" and max(shape[1:]) <= SMALL_SIDE))
        _adapt_stem(body, shape[0], small)
        if norm == "batch":
            use_batch_norm(body, model)
        elif norm != "standard":
            replace_batch_norm(body, norm, shape, model)
        self.classifier_name, classifier = _detach_classifier(body, model, classes)
        self.body = body
        self.classifier = classifier
        self.small_stem, self.norm = small, norm
        for module in self.body.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010
            if not dropout and type(module).__name__ in ("Dropout", "StochasticDepth"):
                setattr(module, "p", 0.0)  # noqa: B010

    def own_name(self, name: str) -> str:
        """What this network calls the weight that has a name in torchvision's model."""
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


def model_names() -> list[str]:
    """Names of torchvision's classification models that end in a linear layer."""
    models = _models()
    return [name for name in models.list_models(module=models) if not name.startswith("squeezenet")]


def _models() -> ModuleType:
    import torchvision.models

    return torchvision.models


def require_model(model: str) -> None:
    """Refuse a name that torchvision does not know, or whose model has no embedding."""
    known = model_names()
    if model in known:
        return
    if model in _models().list_models(module=_models()):
        raise InputError(f"torchvision's '{model}' ends in a convolution and has no embedding; use another model")
    raise unknown("torchvision model", model, known)


def _create(model: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model as torchvision makes it, sized for the images where its constructor asks for their size."""
    require_model(model)
    models = _models()
    options: dict[str, Any] = {"num_classes": classes}
    if model in ("googlenet", "inception_v3"):
        # The auxiliary heads would change what the model returns; its own start is the published one.
        options |= {"aux_logits": False, "init_weights": True}
    if model.startswith("vit_"):
        if shape[1] != shape[2]:
            raise InputError(f"torchvision's '{model}' needs square images, not {shape[1]} x {shape[2]}")
        patch = int(model.rsplit("_", 1)[1])
        if shape[1] % patch:
            raise InputError(f"torchvision's '{model}' needs sides divisible by {patch}, not {shape[1]}")
        options["image_size"] = shape[1]
    elif model == "maxvit_t":
        options["input_size"] = shape[1:]
    try:
        return models.get_model(model, weights=None, **options)
    except NotImplementedError:
        # RegNets compute their widths with tensors, which the meta device cannot do.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return models.get_model(model, weights=None, **options)


def _adapt_stem(body: nn.Module, channels: int, small: bool) -> None:
    """Replace the first convolution where the images' channels or size ask for it."""
    name, conv = next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
    if small:
        body.set_submodule(name, nn.Conv2d(channels, conv.out_channels, 3, 1, 1, bias=False))
        body.set_submodule("maxpool", nn.Identity())
    elif channels != conv.in_channels:
        kernel, stride, padding = conv.kernel_size, conv.stride, conv.padding
        bias = conv.bias is not None
        body.set_submodule(
            name,
            nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=bias),  # type: ignore[arg-type]
        )


def _detach_classifier(body: nn.Module, model: str, classes: int) -> tuple[str, nn.Linear]:
    """Take the last linear layer out of the model, with its name, and leave an identity in its place."""
    linears = [(name, module) for name, module in body.named_modules() if isinstance(module, nn.Linear)]
    name, classifier = linears[-1]
    if classifier.out_features != classes:
        raise InputError(f"the last linear layer of torchvision's '{model}' is not its classifier; use another model")
    body.set_submodule(name, nn.Identity())
    return name, classifier
