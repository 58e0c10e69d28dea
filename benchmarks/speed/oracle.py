"""The contender that limbeck is compared with: each step as the authors' loops take it.

Class after class, ordinary modules run eagerly, autograd through everything that is there, the framework's own
optimizers, figures read back after every batch. Nothing here comes from limbeck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models import resnet18

from benchmarks.speed.cases import MEAN, STD, Case, Numbers

__all__ = [
    "Clustering",
    "DCMatching",
    "DMMatching",
    "DSDMMatching",
    "Ensemble",
    "IDCMatching",
    "MTTMatching",
    "Recovery",
    "TESLAMatching",
    "Training",
    "make",
]


class ConvNet(nn.Module):
    """Three blocks of convolution, instance norm, ReLU and pooling, and a classifier."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for _ in range(3):
            layers += [
                nn.Conv2d(inputs, case.width, kernel_size=3, padding=1),
                nn.GroupNorm(case.width, case.width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            inputs = case.width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(case.width * (case.side // 8) ** 2, case.classes)
        self.to(case.torch_dtype)
        with torch.no_grad():
            for own, given in zip(self.parameters(), case.weights(), strict=True):
                own.copy_(given)

    def embed(self, x: Tensor) -> Tensor:
        return self.features(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.embed(x))


class IDCMatching:
    """Classes in turn: match the gradients of packed images, and step the shared optimizer."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.images = real_images(case)[0]
        self.stored = case.stored().flatten(0, 1).requires_grad_()
        self.optimizer = torch.optim.SGD([self.stored], lr=case.lr, momentum=0.5)
        self.number = 0
        self.losses: list[float] = []

    def step(self) -> None:
        """One round of all classes."""
        case, params = self.case, list(self.net.parameters())
        self.losses = []
        for label in range(case.classes):
            real = self.images[case.rows(self.number, label)]
            synthetic = decode(self.stored[label * case.ipc : (label + 1) * case.ipc], case.factor)
            both = augment(normalize(torch.cat([real, synthetic])), case.numbers(self.number, label))
            real, synthetic = both[: len(real)], both[len(real) :]
            wanted = torch.full((len(real),), label)
            towards = torch.autograd.grad(F.cross_entropy(self.net(real), wanted), params)
            towards = [gradient.detach() for gradient in towards]
            loss = F.cross_entropy(self.net(synthetic), torch.full((len(synthetic),), label))
            gradients = torch.autograd.grad(loss, params, create_graph=True)
            distance = torch.zeros((), dtype=case.torch_dtype)
            for one, other in zip(towards, gradients, strict=True):
                if one.ndim == 4:
                    distance = distance + ((one - other) ** 2).sum()
            self.optimizer.zero_grad()
            distance.backward()
            self.optimizer.step()
            self.losses.append(distance.item())
        self.number += 1


class DCMatching:
    """Distances of all classes summed, one backward pass and one step; DSA if there are tokens."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.images = normalize(real_images(case)[0])
        self.stored = normalize(case.stored().flatten(0, 1)).requires_grad_()
        self.optimizer = torch.optim.SGD([self.stored], lr=case.lr, momentum=0.5)
        self.number = 0
        self.loss = 0.0

    def step(self) -> None:
        """One step on all classes."""
        case, params = self.case, list(self.net.parameters())
        total = torch.zeros((), dtype=case.torch_dtype)
        for label in range(case.classes):
            real = self.images[case.rows(self.number, label)]
            synthetic = self.stored[label * case.ipc : (label + 1) * case.ipc]
            if case.tokens:
                numbers = case.numbers(self.number, label)
                real, synthetic = augment(real, numbers), augment(synthetic, numbers)
            loss = F.cross_entropy(self.net(real), torch.full((len(real),), label))
            towards = [gradient.detach().clone() for gradient in torch.autograd.grad(loss, params)]
            loss = F.cross_entropy(self.net(synthetic), torch.full((len(synthetic),), label))
            gradients = torch.autograd.grad(loss, params, create_graph=True)
            for one, other in zip(towards, gradients, strict=True):
                if one.ndim > 1:
                    total = total + row_distance(one.flatten(1), other.flatten(1))
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.loss = total.item()
        self.number += 1


class DMMatching:
    """Mean embeddings of a network that nothing is learnt of, summed over classes; one backward pass and one step."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = ConvNet(case).requires_grad_(False)
        self.images = normalize(real_images(case)[0])
        self.stored = normalize(case.stored().flatten(0, 1)).requires_grad_()
        self.optimizer = torch.optim.SGD([self.stored], lr=case.lr, momentum=0.5)
        self.number = 0
        self.loss = 0.0

    def step(self) -> None:
        """One step on all classes."""
        case = self.case
        total = torch.zeros((), dtype=case.torch_dtype)
        for label in range(case.classes):
            real = self.images[case.rows(self.number, label)]
            synthetic = self.stored[label * case.ipc : (label + 1) * case.ipc]
            if case.tokens:
                numbers = case.numbers(self.number, label)
                real, synthetic = augment(real, numbers), augment(synthetic, numbers)
            real, synthetic = self.net.embed(real).detach(), self.net.embed(synthetic)
            total = total + ((real.mean(dim=0) - synthetic.mean(dim=0)) ** 2).sum()
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.loss = total.item()
        self.number += 1


class DSDMMatching:
    """Classes in turn: means and covariances of packed images, a step, and at last the prototypes of all classes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.images = real_images(case)[0]
        self.stored = case.stored().flatten(0, 1).requires_grad_()
        self.optimizer = torch.optim.SGD([self.stored], lr=case.lr, momentum=0.5)
        self.number = 0
        self.losses: list[float] = []
        self.history: list[Tensor] = []

    def step(self) -> None:
        """One round of all classes."""
        case = self.case
        self.losses = []
        for label in range(case.classes):
            real = self.images[case.rows(self.number, label)]
            both = torch.cat([real, self.decoded(label)])
            both = augment(normalize(both), case.numbers(self.number, label))
            with torch.no_grad():
                real = self.net.embed(both[: len(real)])
            synthetic = self.net.embed(both[len(real) :])
            loss = ((real.mean(dim=0) - synthetic.mean(dim=0)) ** 2).sum()
            apart = covariance(real) - covariance(synthetic)
            loss = loss + 50.0 / real.shape[1] * (apart**2).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
        with torch.no_grad():
            for label in range(case.classes):
                numbers = case.numbers(self.number + 10**6, label)
                mean = self.net.embed(augment(normalize(self.decoded(label)), numbers)).mean(dim=0)
                if self.number:
                    self.history[label] = 0.99 * self.history[label] + 0.01 * mean
                else:
                    self.history.append(mean)
        self.number += 1

    def decoded(self, label: int) -> Tensor:
        """All training images of a class."""
        case = self.case
        return decode(self.stored[label * case.ipc : (label + 1) * case.ipc], case.factor)


class Clustering:
    """All images of a class embedded in one pass, Lloyd's algorithm, and the image nearest to each centre."""

    def __init__(self, case: Case, start: Sequence[int]) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.images = real_images(case)[0]
        self.start = torch.tensor(start)
        self.picks = torch.zeros(0, dtype=torch.int64)

    @torch.no_grad()
    def step(self) -> None:
        """Cluster the class."""
        features = self.net.embed(self.images)
        centres = features[self.start]
        for _ in range(100):
            nearest = squared_distances(features, centres).argmin(dim=1)
            members = (nearest[None, :] == torch.arange(len(centres))[:, None]).to(features.dtype)
            means = members @ features / members.sum(dim=1, keepdim=True)
            means[means.isnan()] = 0.0
            moved = ((means - centres) ** 2).sum()
            centres = means
            if moved <= 1e-4:
                break
        self.picks = squared_distances(features, centres).argmin(dim=0)


class MTTMatching:
    """A student's steps on one flat vector of weights, all in one graph, and autograd through all of them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.shapes = [(name, own.shape, own.numel()) for name, own in self.net.named_parameters()]
        self.first, self.target = (
            torch.cat([one.flatten() for one in some]) for some in (case.weights(), case.target())
        )
        self.stored = normalize(case.stored().flatten(0, 1)).requires_grad_()
        self.labels = torch.arange(case.classes).repeat_interleave(case.ipc)
        self.rate = torch.tensor(case.student_lr, dtype=case.torch_dtype, requires_grad=True)
        self.optimizer = torch.optim.SGD([self.stored], lr=case.lr, momentum=0.5)
        self.rate_optimizer = torch.optim.SGD([self.rate], lr=case.lr_step, momentum=0.5)
        self.number = 0
        self.loss = 0.0

    def step(self) -> None:
        """One student, and one step of the images and of its step size."""
        theta = self.first.clone().requires_grad_()
        for number in range(self.case.student_steps):
            x, y = self.seen(number)
            (gradient,) = torch.autograd.grad(F.cross_entropy(self.call(theta, x), y), theta, create_graph=True)
            theta = theta - self.rate * gradient
        loss = ((theta - self.target) ** 2).sum() / ((self.first - self.target) ** 2).sum()
        self.optimizer.zero_grad()
        self.rate_optimizer.zero_grad()
        loss.backward()
        self.take(loss)

    def seen(self, number: int) -> tuple[Tensor, Tensor]:
        """Images and labels of one step of the student."""
        rows, numbers = self.case.lesson(self.number, number)
        x = self.stored[rows]
        return augment(x, numbers) if numbers else x, self.labels[rows]

    def call(self, theta: Tensor, x: Tensor) -> Tensor:
        """The network with the weights of a flat vector."""
        parts = theta.split([size for _, _, size in self.shapes])
        weights = {name: part.view(shape) for (name, shape, _), part in zip(self.shapes, parts, strict=True)}
        logits: Tensor = functional_call(self.net, weights, (x,))
        return logits

    def take(self, loss: Tensor) -> None:
        """Step both optimizers."""
        self.optimizer.step()
        self.rate_optimizer.step()
        self.loss = loss.item()
        self.number += 1


class TESLAMatching(MTTMatching):
    """The steps without a graph and the sum of their gradients; then a graph for each of them, one after the other."""

    def step(self) -> None:
        """One student, and one step of the images and of its step size."""
        case, rate = self.case, self.rate.detach()
        way, total = [self.first.clone().requires_grad_()], torch.zeros_like(self.first)
        for number in range(case.student_steps):
            x, y = self.seen(number)
            (gradient,) = torch.autograd.grad(F.cross_entropy(self.call(way[-1], x.detach()), y), way[-1])
            total += gradient
            way.append((way[-1].detach() - rate * gradient).requires_grad_())
        size = ((self.first - self.target) ** 2).sum()
        towards = 2 * (self.first - rate * total - self.target) / size
        self.optimizer.zero_grad()
        for number in range(case.student_steps):
            x, y = self.seen(number)
            loss = F.cross_entropy(self.call(way[number], x), y)
            (gradient,) = torch.autograd.grad(loss, way[number], create_graph=True)
            (pull,) = torch.autograd.grad(-rate * (towards * gradient).sum(), self.stored)
            self.stored.grad = pull if self.stored.grad is None else self.stored.grad + pull
        self.rate.grad = -(towards * total).sum()
        self.take(((self.first - rate * total - self.target) ** 2).sum() / size)


class Recovery:
    """One image per class: cross-entropy and the statistics that hooks see before batch norm, Adam, clamp."""

    iterations = 1000

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = resnet18(num_classes=case.classes)
        self.net.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        self.net.maxpool = nn.Identity()
        self.net.to(case.torch_dtype).load_state_dict(case.teacher())
        self.net.eval()
        self.distances: list[Tensor] = []
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(self.compare)
        self.stored = normalize(case.stored().flatten(0, 1)).requires_grad_()
        self.optimizer = torch.optim.Adam([self.stored], lr=case.lr, betas=(0.5, 0.9), eps=1e-8)
        self.targets = torch.arange(case.classes)
        self.number = 0
        self.loss = 0.0

    def compare(self, module: nn.BatchNorm2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The distances of one layer's input from what it has recorded."""
        x = inputs[0]
        mean = x.mean(dim=(0, 2, 3))
        variance = x.permute(1, 0, 2, 3).reshape(x.shape[1], -1).var(dim=1, unbiased=False)
        self.distances.append(
            0.01 * torch.norm(module.running_mean - mean) + 0.11 * torch.norm(module.running_var - variance)
        )

    def step(self) -> None:
        """One iteration on all images."""
        case = self.case
        for group in self.optimizer.param_groups:
            group["lr"] = case.lr * 0.5 * (1 + math.cos(math.pi * self.number / self.iterations))
        numbers = case.shifts(self.number)
        x = torch.roll(self.stored, (int(numbers["rows"]), int(numbers["columns"])), dims=(2, 3))
        self.distances = []
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(x), self.targets)
        loss = loss + sum(each * (10 if layer == 0 else 1) for layer, each in enumerate(self.distances))
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
                self.stored[:, channel].clamp_(-mean / std, (1 - mean) / std)
        self.loss = loss.item()
        self.number += 1


class Training:
    """IDC's training of a network on labelled images; an epoch, or the next batches of shuffled epochs."""

    def __init__(self, case: Case, orders: Sequence[Tensor] = ()) -> None:
        self.case = case
        self.net = ConvNet(case)
        self.images, self.labels = real_images(case)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=case.lr, momentum=0.9, weight_decay=5e-4)
        self.generator = case.generator("training of the oracle")
        self.batches: list[Tensor] = []
        self.orders = list(orders)
        self.loss = self.top1 = self.top5 = 0.0

    def step(self) -> None:
        """Train on ``samples`` images, in full batches unless they are all there are."""
        seen = 0
        while seen < self.case.samples:
            rows = self.next_batch()
            self.train(normalize(self.images[rows]), self.labels[rows])
            seen += len(rows)

    def next_batch(self) -> Tensor:
        """Rows of the next batch; only the evaluation uses the incomplete one at the end of an epoch."""
        if not self.batches:
            count, size = len(self.labels), self.case.batch
            order = self.orders.pop(0) if self.orders else torch.randperm(count, generator=self.generator)
            order = order if self.case.kind == "evaluation" else order[: count // size * size]
            self.batches = list(order.split(size))
        return self.batches.pop(0)

    def train(self, x: Tensor, y: Tensor) -> None:
        """One step of the optimizer."""
        case, generator = self.case, self.generator
        if case.operations:
            x = augment(x, case.draw(case.operations, generator, (len(x),)))
        if case.cutmix and float(torch.rand((), generator=generator)) < case.cutmix:
            x, order, own = self.cut_and_mix(x)
            output = self.net(x)
            loss = own * F.cross_entropy(output, y) + (1 - own) * F.cross_entropy(output, y[order])
        else:
            output = self.net(x)
            loss = F.cross_entropy(output, y)
        best = output.detach().topk(min(5, case.classes), dim=1).indices == y[:, None]
        self.top1 = best[:, :1].sum().mul(100 / len(y)).item()
        self.top5 = best.sum().mul(100 / len(y)).item()
        self.loss = loss.item()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def cut_and_mix(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Images with a box of another one each, which one that is, and the share of an image that is left."""
        side, generator = x.shape[-1], self.generator
        half = int(side * math.sqrt(1 - float(torch.rand((), generator=generator)))) // 2
        row, column = torch.randint(side, (2,), generator=generator).tolist()
        order = torch.randperm(len(x), generator=generator)
        rows = slice(max(row - half, 0), min(row + half, side))
        columns = slice(max(column - half, 0), min(column + half, side))
        x[:, :, rows, columns] = x[order, :, rows, columns]
        return x, order, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / side**2


class Ensemble:
    """Several networks of one architecture, one after another."""

    def __init__(self, case: Case, orders: Sequence[Sequence[Tensor]] = ()) -> None:
        self.each = [Training(case.alone, orders[number] if orders else ()) for number in range(case.together)]

    def step(self) -> None:
        """An epoch of each."""
        for one in self.each:
            one.step()


def make(
    case: Case, start: Sequence[int] = ()
) -> IDCMatching | DCMatching | DMMatching | DSDMMatching | MTTMatching | Recovery | Clustering | Ensemble | Training:
    """The oracle of a case.

    Args:
        case: what is timed.
        start: rows that clustering starts from.
    """
    match case.kind:
        case "idc":
            return IDCMatching(case)
        case "dc":
            return DCMatching(case)
        case "dm":
            return DMMatching(case)
        case "dsdm":
            return DSDMMatching(case)
        case "mtt":
            return MTTMatching(case)
        case "tesla":
            return TESLAMatching(case)
        case "recover":
            return Recovery(case)
        case "clustering":
            return Clustering(case, start)
        case "ensemble":
            return Ensemble(case)
        case _:
            return Training(case)


def real_images(case: Case) -> tuple[Tensor, Tensor]:
    """Real images in [0, 1], as numbers, and their labels."""
    pixels, labels = case.pixels()
    return pixels.to(case.torch_dtype) / 255, labels


def normalize(x: Tensor) -> Tensor:
    """Images of [0, 1] with the mean and deviation of the data taken out."""
    mean, std = (torch.tensor(values, dtype=x.dtype).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (x - mean) / std


def decode(x: Tensor, factor: int) -> Tensor:
    """Each quarter (ninth, ...) of the stored images at full size."""
    side = x.shape[-1]
    part = side // factor
    pieces = []
    for i in range(factor):
        for j in range(factor):
            piece = x[:, :, i * part : (i + 1) * part, j * part : (j + 1) * part]
            pieces.append(F.interpolate(piece, size=(side, side), mode="bilinear", align_corners=False))
    return torch.cat(pieces)


def covariance(features: Tensor) -> Tensor:
    """Of rows ``[N, D]``, a matrix ``[D, D]``."""
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


def row_distance(one: Tensor, other: Tensor) -> Tensor:
    """DC's distance: one minus the cosine, summed over rows."""
    cosine = (one * other).sum(dim=1) / (one.norm(dim=1) * other.norm(dim=1) + 1e-6)
    return (1 - cosine).sum()


def squared_distances(features: Tensor, centres: Tensor) -> Tensor:
    """All of them, ``[N, K]``."""
    return (features**2).sum(dim=1)[:, None] + (centres**2).sum(dim=1)[None, :] - 2 * features @ centres.T


def augment(x: Tensor, numbers: Numbers) -> Tensor:
    """What there are numbers for, in a fixed order; a number for all images or one for each."""
    of = {name: value if value.dtype == torch.int64 else value.to(x.dtype) for name, value in numbers.items()}
    if "flip" in of:
        x = torch.where(of["flip"].view(-1, 1, 1, 1) < 0.5, x.flip(3), x)
    if "brightness" in of:
        x = x + (of["brightness"].view(-1, 1, 1, 1) - 0.5)
        grey = x.mean(dim=1, keepdim=True)
        x = (x - grey) * (of["saturation"].view(-1, 1, 1, 1) * 2) + grey
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (of["contrast"].view(-1, 1, 1, 1) + 0.5) + mean
    if "crop_rows" in of:
        x = crop(x, of["crop_rows"], of["crop_columns"])
    if "scale_x" in of:
        x = sample(x, stretched(of["scale_x"]), None, None, stretched(of["scale_y"]))
    if "rotate" in of:
        angle = (of["rotate"].view(-1) - 0.5) * 2 * math.pi * 15 / 180
        x = sample(x, angle.cos(), -angle.sin(), angle.sin(), angle.cos())
    if "cutout_rows" in of:
        x = cutout(x, of["cutout_rows"], of["cutout_columns"])
    return x


def crop(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shifted images, zero where nothing was."""
    count, _, height, width = x.shape
    image, row, column = torch.meshgrid(torch.arange(count), torch.arange(height), torch.arange(width), indexing="ij")
    row = (row + rows.view(-1, 1, 1) + 1).clamp(0, height + 1)
    column = (column + columns.view(-1, 1, 1) + 1).clamp(0, width + 1)
    framed = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
    return framed[image, row, column].permute(0, 3, 1, 2)


def cutout(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images with a square hole of half their side."""
    count, _, height, width = x.shape
    hole = int(height / 2 + 0.5)
    image, row, column = torch.meshgrid(torch.arange(count), torch.arange(hole), torch.arange(hole), indexing="ij")
    row = (row + rows.view(-1, 1, 1) - hole // 2).clamp(0, height - 1)
    column = (column + columns.view(-1, 1, 1) - hole // 2).clamp(0, width - 1)
    mask = torch.ones(count, height, width, dtype=x.dtype)
    mask[image, row, column] = 0
    return x * mask[:, None]


def stretched(u: Tensor) -> Tensor:
    """Factors between 1 / 1.2 and 1.2."""
    return u.view(-1) * (1.2 - 1 / 1.2) + 1 / 1.2


def sample(x: Tensor, a: Tensor, b: Tensor | None, c: Tensor | None, d: Tensor) -> Tensor:
    """Images read on a grid that the matrix ``((a, b), (c, d))`` has moved."""
    theta = torch.zeros(len(x), 2, 3, dtype=x.dtype)
    theta[:, 0, 0], theta[:, 1, 1] = a, d
    if b is not None and c is not None:
        theta[:, 0, 1], theta[:, 1, 0] = b, c
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
