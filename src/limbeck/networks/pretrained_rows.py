"""What weights of other libraries have in common: rows of the classifier for the data's classes, and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec
from limbeck.storage.weights import difference

__all__ = ["REMEDY", "in_our_names", "rows_of"]

REMEDY = "train the network, or give a checkpoint (limbeck.networks.checkpoint_weights)"


def rows_of(what: str, count: int, spec: DataSpec, classes: Sequence[int] | None) -> list[int]:
    """The rows of the classifier for the classes of the data.

    Args:
        what: what errors call the weights, for example ``torchvision's weights of 'resnet18'``.
        count: classes that the weights know.
        spec: the data.
        classes: for each label of the data the number of its class; None if the data have all of them in that order.

    Raises:
        InputError: they do not fit.
    """
    if classes is None and spec.classes != count:
        raise InputError(
            f"{what} know {count} classes, the data have {spec.classes}; say by classes= "
            f"which of them each label is, or {REMEDY}"
        )
    rows = list(range(count) if classes is None else classes)
    if len(rows) != spec.classes or len(set(rows)) != len(rows) or not all(0 <= row < count for row in rows):
        raise InputError(
            f"classes= must name {spec.classes} different classes from 0 to {count - 1}, one for each label of the data"
        )
    return rows


def in_our_names(
    given: Weights,
    own_name: Callable[[str], str],
    rows: Sequence[int],
    wanted: Mapping[str, Tensor],
    what: str,
    name: str,
) -> Weights:
    """Weights of another library's model as those of our network.

    Args:
        given: by the library's names.
        own_name: our name of each.
        rows: of the classifier, for the classes of the data.
        wanted: the weights of our network, which say names, shapes and dtypes.
        what: what errors call the weights.
        name: of our network.

    Raises:
        InputError: they do not fit.
    """
    weights = {own_name(key): tensor for key, tensor in given.items()}
    weights |= {key: weights[key][list(rows)] for key in ("classifier.weight", "classifier.bias")}
    reason = difference(_shapes(weights), _shapes(wanted))
    if reason is not None:
        raise InputError(f"{what} do not fit '{name}' ({reason}); {REMEDY}")
    return {key: weights[key].detach().to(tensor.dtype, copy=True) for key, tensor in wanted.items()}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
