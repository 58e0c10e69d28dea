from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.data import Data
from limbeck.storage.weights import (
    check_weights,
    check_whitening,
    checksum,
    class_names_in,
    digest,
    network_in,
    read_weights,
    weight_files,
    write_weights,
)

NAME = "convnet1:width=4,norm=batch"


@pytest.fixture
def network(context_of: Callable[..., Context]) -> FunctionalNetwork:
    return context_of().network(NAME)


@pytest.fixture
def weights(context_of: Callable[..., Context]) -> Weights:
    context = context_of(dtype=torch.float32)
    return context.network(NAME).initial(context.streams("x"))


def test_what_is_written_comes_back_in_the_run_s_dtype(
    network: FunctionalNetwork, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "one.safetensors"
    write_weights(path, {**weights, "classifier.weight": weights["classifier.weight"].requires_grad_()}, NAME)
    check_weights(path, network)
    back = read_weights(path, network, digest(path))
    assert back.keys() == weights.keys()
    for name, tensor in weights.items():
        assert back[name].dtype == (torch.float64 if tensor.is_floating_point() else tensor.dtype)
        assert torch.equal(back[name], tensor.to(back[name].dtype)) and not back[name].requires_grad
    images = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    assert network(back, images).shape == (2, 3)
    before = digest(path)
    assert network(back, images).isfinite().all() and digest(path) == before


def test_a_file_of_another_origin_needs_no_name(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "plain.safetensors")
    check_weights(tmp_path / "plain.safetensors", network)


def test_files_of_a_folder(weights: Weights, tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        write_weights(tmp_path / f"{name}.safetensors", weights, NAME)
    (tmp_path / "notes.txt").write_text("x")
    assert [path.name for path in weight_files(tmp_path)] == ["a.safetensors", "b.safetensors"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no network"):
        weight_files(tmp_path / "empty")
    with pytest.raises(InputError, match="is no folder with networks"):
        weight_files(str(tmp_path / "nowhere"))


def test_other_networks_are_refused(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    key = "classifier.weight"
    cases = {
        f"'{key}' is missing": {name: tensor for name, tensor in weights.items() if name != key},
        f"'{key}' is \\[3, 5\\], not \\[3, ": {**weights, key: torch.zeros(3, 5)},
        "it has no 'more'": {**weights, "more": torch.zeros(1)},
    }
    for message, other in cases.items():
        write_weights(path, other, NAME)
        with pytest.raises(InputError, match=message):
            check_weights(path, network)
    # Equal shapes do not make an equal network.
    write_weights(path, weights, f"{NAME},activation=swish")
    with pytest.raises(InputError, match="saved from 'convnet1:width=4,norm=batch,activation=swish'"):
        check_weights(path, network)


class Trap:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return pytest.fail, ("code of a file was run",)


def test_damaged_files_are_refused_and_not_run(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_weights(path, weights, NAME)
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole[:20], pickle.dumps(Trap())):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no safetensors file that can be read"):
            check_weights(path, network)


def test_a_file_that_changed_or_is_gone_is_refused(
    network: FunctionalNetwork, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    write_weights(path, weights, NAME)
    expected = digest(path)
    write_weights(path, {**weights, "classifier.bias": weights["classifier.bias"] + 1}, NAME)
    with pytest.raises(RunError, match="its digest differs"):
        read_weights(path, network, expected)
    path.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        read_weights(path, network, expected)


def test_equal_weights_make_equal_files_with_the_names_of_classes(weights: Weights, tmp_path: Path) -> None:
    """safetensors writes several facts in any order."""
    names = ("cat", "Übergröße", "dog")
    for number in range(12):
        write_weights(tmp_path / f"{number}.safetensors", weights, NAME, names)
    first, *others = (path.read_bytes() for path in weight_files(tmp_path))
    assert all(content == first for content in others)
    assert class_names_in(tmp_path / "0.safetensors") == names


def test_what_a_file_says_of_its_classes(network: FunctionalNetwork, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_weights(path, weights, NAME)
    check_weights(path, network)
    assert class_names_in(path) is None
    path.with_suffix(".json").write_text('{"accuracy": 0.5}')
    assert class_names_in(path) is None
    path.with_suffix(".json").write_text('["a", "b"]')
    assert class_names_in(path) == ("a", "b")
    write_weights(path, weights, NAME, ("c", "d"))
    assert class_names_in(path) == ("c", "d")  # the file itself comes first
    for wrong in ('"a"', '["a", 1]', "no JSON", '{"class_names": "a"}'):
        path.with_suffix(".json").write_text(wrong)
        with pytest.raises(InputError, match="does not say the names of classes as a list of texts"):
            class_names_in(tmp_path / "x.pth")


def test_a_checksum_knows_names_shapes_types_and_numbers(weights: Weights) -> None:
    key = "classifier.weight"
    others = [
        {name: tensor for name, tensor in weights.items() if name != key},
        {**weights, key: weights[key] + 1},
        {**weights, key: weights[key].double()},
        {**weights, key: weights[key].T},
    ]
    assert len({checksum(some) for some in (weights, *others)}) == 5
    assert checksum(dict(reversed(weights.items()))) == checksum(weights)


def test_the_network_of_a_file_is_read_from_its_header(tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, "convnet3:norm=batch")
    assert network_in(tmp_path / "a.safetensors") == "convnet3:norm=batch"
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    (tmp_path / "c.pt").write_bytes(b"nothing")
    assert network_in(tmp_path / "b.safetensors") is network_in(tmp_path / "c.pt") is None


def test_networks_of_whitened_images_are_kept_apart(
    weights: Weights, digits: Data, whitened: Data, tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("whitened", "channels", "unsaid", "foreign")}
    write_weights(paths["whitened"], weights, NAME, normalization=whitened.spec.normalization)
    write_weights(paths["channels"], weights, NAME, normalization=digits.spec.normalization)
    write_weights(paths["unsaid"], weights, NAME)
    save_file(weights, paths["foreign"])
    assert paths["channels"].read_bytes() == paths["unsaid"].read_bytes()
    for name, path in paths.items():
        other = tmp_path / "else.pt"
        check_whitening(other, digits.spec)
        if name == "foreign":
            check_whitening(path, digits.spec)
            check_whitening(path, whitened.spec)
            continue
        fits, not_ = (whitened, digits) if name == "whitened" else (digits, whitened)
        check_whitening(path, fits.spec)
        remedy = "measured" if name != "whitened" and not_ is whitened else "zca"
        with pytest.raises(InputError, match=rf"was trained on images that were.*\(--normalization\) {remedy}"):
            check_whitening(path, not_.spec)
