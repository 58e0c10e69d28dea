from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import build, checkpoint_weights
from limbeck.storage.weights import write_weights

Spec = Callable[..., DataSpec]
Same = Callable[[Weights, Weights], bool]


@pytest.fixture
def network(spec: Spec) -> FunctionalNetwork:
    return build("convnet2:width=4,norm=batch", spec())


@pytest.fixture
def weights(network: FunctionalNetwork) -> Weights:
    return network.initial(Stream(1))


def same(ours: Weights, theirs: Weights) -> bool:
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


FORMS: dict[str, Callable[[Weights], Any]] = {
    "plain": lambda weights: weights,
    "state_dict": lambda weights: {"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}},
    "model": lambda weights: {"model": weights, "args": "none"},
    "parallel": lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
    "compiled": lambda weights: {"state_dict": {f"_orig_mod.module.{name}": one for name, one in weights.items()}},
    "without counters": lambda weights: {
        name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")
    },
    "another order": lambda weights: dict(reversed(list(weights.items()))),
}


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("form", FORMS)
def test_files_of_pytorch(form: str, suffix: str, network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / f"teacher{suffix}"
    torch.save(FORMS[form](weights), path)
    assert same(checkpoint_weights(path, network), weights)


def test_safetensors(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    ours, bare, wrapped = (tmp_path / f"{name}.safetensors" for name in ("ours", "bare", "wrapped"))
    write_weights(ours, weights, network.name)
    save_file(weights, bare)
    save_file({f"module.{name}": tensor for name, tensor in weights.items()}, wrapped)
    for path in (ours, bare, wrapped):
        assert same(checkpoint_weights(str(path), network), weights)


def test_torchvisions_names(spec: Spec, tmp_path: Path) -> None:
    network = build("torchvision:shufflenet_v2_x0_5", spec())
    weights, path = network.initial(Stream(2)), tmp_path / "theirs.pth"
    with torch.random.fork_rng(devices=[]):
        from torchvision.models import shufflenet_v2_x0_5

        theirs = shufflenet_v2_x0_5(num_classes=10)
    torch.save({"state_dict": theirs.state_dict()}, path)
    found = checkpoint_weights(path, network)
    assert torch.equal(found["classifier.weight"], theirs.fc.weight)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(found, x, train=False), theirs.eval()(x))
    torch.save(weights, path)
    assert same(checkpoint_weights(path, network), weights)


def test_device_and_dtype_are_the_networks(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: one.half() if one.is_floating_point() else one for name, one in weights.items()}, path)
    found = checkpoint_weights(path, network.to(torch.device("cpu"), torch.float64))
    assert found["classifier.weight"].dtype == torch.float64
    assert found["blocks.0.norm.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(found["classifier.weight"], weights["classifier.weight"].half().double())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("blocks.0.conv.weight"), "'blocks.0.conv.weight' is missing"),
        (lambda weights: weights.update(more=torch.zeros(1)), "it has no 'more'"),
        (
            lambda weights: weights.update({"classifier.bias": torch.zeros(7)}),
            r"'classifier.bias' is \[7\], not \[10\]",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_first_difference_is_named(
    change: Callable[[Weights], Any],
    message: str,
    suffix: str,
    network: FunctionalNetwork,
    weights: Weights,
    tmp_path: Path,
) -> None:
    path = tmp_path / f"other{suffix}"
    change(weights)
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    with pytest.raises(InputError, match=f"does not hold network 'convnet2:width=4,norm=batch' .{message}") as caught:
        checkpoint_weights(path, network)
    assert "\n" not in str(caught.value)


def test_a_network_of_the_same_shapes_is_refused(
    spec: Spec, network: FunctionalNetwork, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "ours.safetensors"
    write_weights(path, weights, network.name)
    other = build("convnet2:width=4,norm=batch,pooling=max", spec())
    with pytest.raises(InputError, match="it was saved from 'convnet2:width=4,norm=batch'"):
        checkpoint_weights(path, other)


def test_code_in_a_file_is_not_run(network: FunctionalNetwork, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "bad.pt"

    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    torch.save({"state_dict": {"a": Bad()}}, path)
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint_weights(path, network)
    assert not marker.exists()


def test_files_that_cannot_be_read(network: FunctionalNetwork, tmp_path: Path) -> None:
    for name in ("a.pt", "a.pth", "a.safetensors"):
        with pytest.raises(InputError, match="cannot be read"):
            checkpoint_weights(tmp_path / name, network)
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(InputError, match="cannot be read") as caught:
            checkpoint_weights(tmp_path / name, network)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no checkpoint that can be read; give a file \.safetensors, \.pt, \.pth"):
        checkpoint_weights(tmp_path / "a.npz", network)
    for content in ([torch.zeros(1)], {"state_dict": {}}, {"epoch": 3}):
        torch.save(content, tmp_path / "b.pt")
        with pytest.raises(InputError, match="holds no state_dict of tensors"):
            checkpoint_weights(tmp_path / "b.pt", network)
