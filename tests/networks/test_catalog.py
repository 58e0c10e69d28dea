from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.func import functional_call

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Network, Weights, gradient_and_value
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import (
    EfficientNet,
    MobileNetV2,
    ShuffleNet,
    build,
    efficientnet,
    mobilenet,
    names,
    options,
    shufflenet,
)
from limbeck.networks.catalog import with_option

Spec = Callable[..., DataSpec]
SMALL = {
    "convnet3": ":width=8",
    "resnet10": ":width=4",
    "resnet10_wide": ":width=4",
    "resnet_ap10": ":width=4",
}
SMALL |= {
    "resnet18": ":width=4",
    "resnet18_ap": ":width=4",
    "densenet121_cifar_k12": ":growth=2",
    "mlp": ":width=8",
    "resnet34": ":width=4",
    "resnet50": ":width=4",
    "resnet101": ":width=2",
    "deit_tiny": ":width=64,depth=2",
}
# Published for images of 3 x 32 x 32: network, classes, parameters, batch norms.
PUBLISHED = [
    ("resnet18", 10, 11_173_962, 20),
    ("resnet18", 100, 11_220_132, 20),
    ("resnet18", 200, 11_271_432, 20),
    ("resnet34", 100, 21_328_292, 36),
    ("resnet50", 100, 23_705_252, 53),
    ("resnet101", 100, 42_697_380, 104),
    ("torchvision:resnet18", 100, 11_220_132, 20),
    ("torchvision:resnet34", 100, 21_328_292, 36),
    ("torchvision:resnet50", 100, 23_705_252, 53),
    ("torchvision:resnet101", 100, 42_697_380, 104),
    ("mobilenetv2", 100, 2_412_212, 57),
    ("mobilenetv2", 10, 2_412_212 - 90 * 1281, 57),
    ("shufflenet_g2", 100, 959_672, 49),
    ("shufflenet_g2", 10, 959_672 - 90 * 801, 49),
    ("efficientnet_b0", 100, 3_628_576, 49),
    ("efficientnet_b0", 10, 3_628_576 - 90 * 321, 49),
    ("vgg16", 100, 14_774_436, 13),
    ("vgg16", 10, 14_774_436 - 90 * 513, 13),
    ("convnet3:norm=batch", 100, 504_420, 3),
]
SOME = [
    "resnet50:width=2",
    "mobilenetv2",
    "shufflenet_g2",
    "efficientnet_b0",
    "vgg16",
    "deit_tiny:width=64,depth=2",
    "deit_tiny:width=64,depth=2,norm=batch",
]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 48)])
def test_every_network_shows_consistent_layers(name: str, shape: tuple[int, int, int], spec: Spec) -> None:
    state = torch.get_rng_state()
    network = build(name + SMALL.get(name, ""), spec(*shape, classes=6))
    weights = network.initial(Stream(3))
    assert torch.equal(state, torch.get_rng_state())
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    logits, embedding = (network(weights, x, output, train=False) for output in ("logits", "embedding"))
    blocks = network(weights, x, "blocks", train=False)
    assert tuple(logits.shape) == (2, 6) and embedding.ndim == 2
    assert isinstance(blocks, tuple) and len(blocks) >= 1
    readout = nn.functional.linear(embedding, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(logits, readout)
    # All layers: each block's map before its pooling, the last one after it, the embedding, the logits.
    *before, last, seen, said = network(weights, x, "layers", train=False)
    assert torch.equal(last, blocks[-1]) and torch.equal(seen, embedding) and torch.equal(said, logits)
    for shown, block in zip(before, blocks, strict=True):
        assert shown.shape[:2] == block.shape[:2]
        assert all(large >= small for large, small in zip(shown.shape[2:], block.shape[2:], strict=True))
    module = network.module(train=False)
    module.load_state_dict(weights)
    torch.testing.assert_close(module(x), logits)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(3, 64, 48), (3, 128, 128), (3, 224, 224)])
def test_every_network_takes_large_images(name: str, shape: tuple[int, int, int], spec: Spec) -> None:
    build(name, spec(*shape))


@pytest.mark.parametrize(("name", "classes", "parameters", "norms"), PUBLISHED)
def test_published_parameters_and_batch_norms(name: str, classes: int, parameters: int, norms: int, spec: Spec) -> None:
    network = build(name, spec(classes=classes)).skeleton()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == norms


@pytest.mark.parametrize("size", [64, 224])
def test_resnet18_on_tiny_imagenet_and_imagenet(size: int, spec: Spec) -> None:
    network = build("resnet18", spec(3, size, size, 200 if size == 64 else 1000)).skeleton()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == (11_271_432 if size == 64 else 11_689_512)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_deep_resnets_are_those_of_torchvision(depth: int, spec: Spec) -> None:
    """The same layers in the same order; the shortcut of a block is registered behind its convolutions in both."""
    ours, theirs = (build(f"{prefix}resnet{depth}", spec()).skeleton() for prefix in ("", "torchvision:"))
    assert [tuple(one.shape) for one in ours.parameters()] == [tuple(one.shape) for one in theirs.parameters()]


@pytest.mark.parametrize("name", SOME)
def test_gradients_of_functions_are_those_of_modules(name: str, spec: Spec) -> None:
    """The function transforms, autograd as the training uses it, and the module itself."""
    network = build(name, spec(3, 32, 32, 3)).to(torch.device("cpu"), torch.float64)
    weights = network.initial(Stream(0))
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0])

    def loss(leaves: Weights) -> tuple[torch.Tensor, tuple[()]]:
        given = {**network.fresh_buffers(weights), **leaves}
        return nn.functional.cross_entropy(network(given, x), labels), ()

    leaves = {key: weights[key] for key in network.parameter_names()}
    transformed, plain = (gradient_and_value(loss, leaves, functional=way)[0] for way in (True, False))
    with torch.random.fork_rng(devices=[]):
        module = network._make().double().train()
    module.load_state_dict(weights)
    nn.functional.cross_entropy(module(x), labels).backward()
    largest = max(float(one.abs().max()) for one in plain.values())
    for key, parameter in module.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for found in (transformed[key], plain[key]):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * largest)


def one_graph(network: FunctionalNetwork) -> None:
    """A pass has no breaks, which compiling needs; the backend that only runs the graph is enough to see that."""
    weights = network.initial(Stream(0))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.module(train=False)
    whole = torch.compile(
        lambda given, images: network(given, images, train=False), fullgraph=True, dynamic=False, backend="eager"
    )
    torch.testing.assert_close(whole(weights, x), network(weights, x, train=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_a_pass_is_one_graph(name: str, spec: Spec) -> None:
    one_graph(build(name, spec(3, 32, 32, 3)))


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_pass_of_a_short_transformer_is_one_graph(norm: str, spec: Spec) -> None:
    one_graph(build(f"deit_tiny:width=64,depth=1,norm={norm}", spec(3, 32, 32, 3)))


@pytest.mark.parametrize(
    ("module", "kind", "stages"),
    [
        (mobilenet, MobileNetV2, ((6, 16, 2, 1),)),
        (shufflenet, ShuffleNet, ((200, 2),)),
        (efficientnet, EfficientNet, ((1, 16, 1, 3, 1), (6, 16, 1, 5, 1))),
    ],
)
def test_a_pass_of_a_short_network_is_one_graph(
    module: ModuleType, kind: type[Network], stages: tuple[tuple[int, ...], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAGES", stages)
    one_graph(FunctionalNetwork("short", partial(kind, (3, 32, 32), 3)))


@pytest.mark.parametrize(
    "name",
    [
        "convnet3:width=4",
        "convnet2:width=4,norm=batch,pooling=max",
        "convnet2:norm=layer,width=4",
        "resnet10:width=2",
        "resnet_ap10:width=2",
        "densenet121_cifar_k12:growth=1",
        "lenet",
        "mlp:width=8",
        "resnet50:width=2",
        "deit_tiny:width=64,depth=1",
        "deit_tiny:width=64,depth=1,norm=batch",
    ],
)
def test_gradients_of_gradients(name: str, spec: Spec) -> None:
    """The matching methods differentiate a loss of weight gradients with respect to images."""
    network = build(name, spec(3, 16, 16, classes=3)).to(torch.device("cpu"), torch.float64)
    weights = network.initial(Stream(0))
    trained = {key: weights[key].requires_grad_() for key in network.parameter_names()}
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def squared_gradient(images: torch.Tensor) -> torch.Tensor:
        logits = functional_call(network.module(), weights, (images,))
        loss = nn.functional.cross_entropy(logits, torch.arange(3))
        return sum(g.square().sum() for g in torch.autograd.grad(loss, list(trained.values()), create_graph=True))

    (gradient,) = torch.autograd.grad(squared_gradient(x), x)
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6
    change = squared_gradient(x + step * direction) - squared_gradient(x - step * direction)
    slope = float((gradient * direction).sum())
    assert slope != 0.0
    assert float(change.detach()) / (2 * step) == pytest.approx(slope, rel=1e-3)


def test_weights_are_keyed_by_the_stream(spec: Spec) -> None:
    network = build("resnet10:width=4", spec())
    first, again, other = (network.initial(Stream(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_name_is_canonical(spec: Spec) -> None:
    assert build("convnet3:norm=batch, width=32", spec()).name == "convnet3:width=32,norm=batch"
    assert build("convnet3:width=128", spec()).name == "convnet3"
    assert build("torchvision:resnet18:dropout=true,stem=auto", spec()).name == "torchvision:resnet18:dropout=true"
    name = "convnet4:width=16,norm=group,activation=swish,pooling=max"
    assert build(name, spec()).name == name


def test_a_network_can_be_sent_to_another_process(spec: Spec) -> None:
    network = build("convnet3:width=4", spec())
    copy = pickle.loads(pickle.dumps(network))
    ours, theirs = network.initial(Stream(0)), copy.initial(Stream(0))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convent3", "unknown network 'convent3'; did you mean 'convnet3'?"),
        ("convnet", "unknown network 'convnet'; did you mean 'convnet"),
        ("convnet0", "unknown network 'convnet0'; did you mean"),
        ("", "unknown network ''; known: "),
        ("resnt18", "did you mean 'resnet18'?"),
        ("convnet3:widht=4", "unknown convnet3 option 'widht'; did you mean 'width'?"),
        ("convnet3:depth=4", "option 'depth' of network 'convnet3' is set by its name; use another name"),
        ("lenet:width=4", "unknown lenet option 'width'; known: none."),
        ("convnet3:width=wide", "option 'width' of network 'convnet3' must be a whole number, not 'wide'"),
        ("convnet3:width=-4", "must be a whole number, not '-4'"),
        ("convnet3:width=0", "network 'convnet3:width=0': width of a network must be at least 1, not 0"),
        ("convnet3:norm=batc", "must be one of instance, batch, layer, group, none, not 'batc'"),
        ("convnet3:width", "'width' in the options of network 'convnet3' must have the form option=value"),
        ("convnet3:", "must have the form option=value"),
        ("convnet3:width=4,", "must have the form option=value"),
        ("convnet3:width=4,width=8", "option 'width' of network 'convnet3' is given twice"),
        ("convnet3:width=6,norm=group", "group norm needs a width divisible by 4, not 6"),
        ("convnet9", "network 'convnet9': images of 32 x 32 pixels are too small"),
        ("torchvision:resnet18:dropout=yes", "must be true or false, not 'yes'"),
        ("torchvision:resnet5", "unknown torchvision model 'resnet5'"),
        ("torchvision:", "unknown torchvision model ''"),
    ],
)
def test_errors_are_one_sentence(name: str, message: str, spec: Spec) -> None:
    with pytest.raises(InputError) as caught:
        build(name, spec())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_options() -> None:
    assert all(summary and "\n" not in summary for summary in names().values())
    assert options("convnet3") == {"width": 128, "norm": "instance", "activation": "relu", "pooling": "avg"}
    assert options("convnet4:norm=batch,width=32") == {**options("convnet4"), "norm": "batch", "width": 32}
    assert options("resnet10")["width"] == 32
    assert options("resnet18_ap")["head"] == "flat"


def test_with_option(spec: Spec) -> None:
    assert with_option("convnet3", "norm", "batch") == "convnet3:norm=batch"
    assert with_option("convnet3: norm=group, width=8", "norm", "batch") == "convnet3:width=8,norm=batch"
    name = with_option("torchvision:resnet18:stem=small", "dropout", True)
    assert name == "torchvision:resnet18:stem=small,dropout=true"
    assert build(name, spec()).name == name


def test_import_leaves_torchvision_alone() -> None:
    code = "import sys, limbeck.networks; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
