"""Networks as functions: weights are arguments, so that one module serves many networks of its shape."""

from __future__ import annotations

import abc
import copy
import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from limbeck.core.classwise import accept_class_axis
from limbeck.core.execution import Execution, Program
from limbeck.core.observed import Statistics, Witness, batch_norms
from limbeck.core.streams import Stream

__all__ = ["FunctionalNetwork", "Network", "Output", "Weights", "gradient_and_value"]

Output = Literal["logits", "embedding", "blocks", "layers"]
Weights = dict[str, Tensor]
"""Parameters and buffers of one network by name."""


class Network(nn.Module, abc.ABC):
    """A classifier that shows its inner layers.

    ``forward(x, output)`` maps images ``[B, C, H, W]`` in normalized space to ``logits`` ``[B, classes]``, to the
    ``embedding`` ``[B, D]`` that the classifier reads, to ``blocks``, the tuple of feature maps after each block, or to
    ``layers``, the tuple of each block's map before its pooling, the last map after it, the embedding and the logits.
    """

    @abc.abstractmethod
    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        """Logits, embedding, block outputs or all layers of a batch."""


class FunctionalNetwork:
    """A network architecture called with weights as an argument.

    Args:
        name: the name that `limbeck.networks.build` understands.
        make: builds a module with fresh random weights.
    """

    def __init__(self, name: str, make: Callable[[], Network]) -> None:
        self.name = name
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.execution = Execution()
        self._make = make
        self._modules: dict[bool, Network] = {}
        self._observed: tuple[Network, Witness, tuple[tuple[str, str], ...]] | None = None
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._variants: dict[Any, FunctionalNetwork] = {}

    def to(self, device: torch.device, dtype: torch.dtype, execution: Execution | None = None) -> FunctionalNetwork:
        """This architecture with weights on ``device`` as ``dtype``, computed as ``execution`` says.

        The same object comes back for the same arguments, so that what it has compiled serves again.
        """
        key = (device, dtype, execution)
        if key not in self._variants:
            variant = copy.copy(self)
            variant.device, variant.dtype, variant.execution = device, dtype, execution or Execution()
            variant._modules, variant._programs, variant._variants = {}, {}, {}
            variant._observed = None
            self._variants[key] = variant
        return self._variants[key]

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it compiles for itself."""
        return {**self.__dict__, "_programs": {}, "_variants": {}, "_observed": None}

    def initial(self, stream: Stream) -> Weights:
        """Fresh weights, drawn in float32 whatever the dtype, so that a float64 run starts alike.

        The framework's initialization reads the global generator: it is set aside meanwhile and put back.
        """
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the GPUs as well.
            torch.default_generator.manual_seed(stream.seed)
            module = self._make()
        state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
        return {
            name: tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in state.items()
        }

    def module(self, train: bool = True) -> Network:
        """The module that computes in one of the two modes; its own weights are never used."""
        if train not in self._modules:
            self._modules[train] = self._made().train(train)
        return self._modules[train]

    def _made(self) -> Network:
        """A module as the execution settings want it."""
        with torch.random.fork_rng(devices=[]):
            module = self._make()
        if self.execution.precision == "bfloat16":
            _lower(module)
        if self.execution.blocks == "concat":
            accept_class_axis(module)
        return module

    def parameter_names(self) -> tuple[str, ...]:
        """Names of the weights that are trained, in the module's order."""
        return tuple(name for name, _ in self.module().named_parameters())

    @property
    def mixes_images(self) -> bool:
        """Whether in training what the network says of an image depends on the others of its batch (batch norm)."""
        return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.module().modules())

    def buffer_names(self) -> tuple[str, ...]:
        """Names of the weights that are recorded and not trained: batch norm's running statistics."""
        return tuple(name for name, _ in self.module().named_buffers())

    def running_statistics(self) -> tuple[tuple[str, str], ...]:
        """Names of running mean and variance of each layer of batch norm, in the order of registration."""
        return self._observing()[2]

    def observe(self, weights: Weights, x: Tensor) -> tuple[Tensor, tuple[Statistics, ...]]:
        """Logits in evaluation mode, and what each layer of batch norm was given on the way, in one pass.

        Args:
            weights: parameters and buffers by name.
            x: images ``[B, C, H, W]`` in normalized space.

        Returns:
            Logits ``[B, classes]``; mean and biased variance of each layer's input, ``[C]`` each, in the order of
            `running_statistics`.
        """
        module, witness, _ = self._observing()
        witness.begin()
        logits = functional_call(module, weights, (x,))
        return logits, witness.end()

    def _observing(self) -> tuple[Network, Witness, tuple[tuple[str, str], ...]]:
        """A module that is observed, who does so, and what `running_statistics` says; made outside of programs."""
        if self._observed is None:
            module = self._made().eval()
            names = tuple((f"{name}.running_mean", f"{name}.running_var") for name, _ in batch_norms(module))
            self._observed = module, Witness(module), names
        return self._observed

    def fresh_buffers(self, weights: Weights) -> Weights:
        """The weights with copies of the buffers, which the network may then change in place."""
        return {**weights, **{name: weights[name].clone() for name in self.buffer_names() if name in weights}}

    def __call__(self, weights: Weights, x: Tensor, output: Output = "logits", train: bool = True) -> Tensor:
        """Evaluate the network.

        Args:
            weights: parameters and buffers by name; batch norm's running buffers are updated in place in training.
            x: images ``[B, C, H, W]`` in normalized space.
            output: ``logits``, ``embedding``, ``blocks`` or ``layers``.
            train: whether batch norm uses (and records) the statistics of this batch.
        """
        return functional_call(self.module(train), weights, (x,), {"output": output})

    @functools.lru_cache(maxsize=16)  # noqa: B019 - networks live as long as the process
    def flops(self, shape: tuple[int, int, int]) -> int:
        """Floating point operations of one forward pass of one image ``(C, H, W)``; two per product and sum."""
        module = self.skeleton()
        with FlopCounterMode(display=False) as counter:
            module(torch.empty(1, *shape, device="meta"))
        return int(counter.get_total_flops())

    @functools.lru_cache(maxsize=16)  # noqa: B019
    def activations(self, shape: tuple[int, int, int]) -> int:
        """Numbers that the layers of one forward pass of one image ``(C, H, W)`` give out, together."""
        module, total = self.skeleton(), 0

        def count(layer: nn.Module, inputs: Any, found: Any) -> None:
            nonlocal total
            total += found.numel() if isinstance(found, Tensor) else 0

        for layer in module.modules():
            if not any(True for _ in layer.children()):
                layer.register_forward_hook(count)
        module(torch.empty(1, *shape, device="meta"))
        return total

    @functools.lru_cache(maxsize=16)  # noqa: B019
    def blocks(self, shape: tuple[int, int, int]) -> int:
        """Feature maps that ``output="blocks"`` gives for images ``(C, H, W)``."""
        return len(self.skeleton()(torch.empty(1, *shape, device="meta"), "blocks"))

    def skeleton(self) -> Network:
        """A module of this architecture on the meta device: its layers and shapes, without memory for weights."""
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return self._make().eval()

    def program(self, function: Callable[..., Any], **constants: Any) -> Callable[..., Any]:
        """A pure function of this network and of tensors, as the execution settings say: compiled, or as it is.

        Args:
            function: called as ``function(network, *tensors, **constants)``; defined at the level of a module.
            **constants: hashable; each set of them is a program of its own.
        """
        key = (function, tuple(sorted(constants.items())))
        if key not in self._programs:
            bound = functools.partial(function, self, **constants)
            name = function.__name__.strip("_").replace("_", " ")
            for train in (False, True):
                self.module(train)  # made outside the program
            if self.execution.compile and self.mixes_images:
                self._observing()
            self._programs[key] = Program(bound, f"{name} of {self.name}") if self.execution.compile else bound
        return self._programs[key]


def gradient_and_value(
    function: Callable[[Any], tuple[Tensor, Any]], leaves: Any, *, functional: bool, differentiable: bool = False
) -> tuple[Any, Tensor, Any]:
    """Gradient, value and second result of ``function`` at ``leaves``.

    Args:
        function: gives a scalar and something beside it.
        leaves: a tensor or a dict of tensors.
        functional: whether to use function transforms, which can be compiled and vectorized, or autograd, which has
            less overhead.
        differentiable: whether the gradient will be differentiated again.
    """
    if functional:
        gradient, (value, beside) = torch.func.grad_and_value(function, has_aux=True)(leaves)
        return gradient, value, beside
    with torch.enable_grad():
        single = isinstance(leaves, Tensor)
        wanted = {"": leaves} if single else leaves
        own = {name: tensor.detach().requires_grad_() for name, tensor in wanted.items()}
        value, beside = function(own[""] if single else own)
        # A weight that the value does not depend on has gradient zero, as for function transforms.
        found = torch.autograd.grad(value, list(own.values()), create_graph=differentiable, materialize_grads=True)
    gradient = found[0] if single else dict(zip(own, found, strict=True))
    return gradient, value if differentiable else value.detach(), beside


class _LowConv2d(nn.Conv2d):
    """A convolution in bfloat16 whose input, output and weights are kept in their own type."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        low = torch.bfloat16
        found = super()._conv_forward(input.to(low), weight.to(low), None).to(input.dtype)
        return found if bias is None else found + bias.view(-1, 1, 1)


def _lower(module: nn.Module) -> None:
    """Let all plain convolutions compute in bfloat16."""
    for part in module.modules():
        if type(part) is nn.Conv2d:
            part.__class__ = _LowConv2d
