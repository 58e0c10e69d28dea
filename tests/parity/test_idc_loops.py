"""The official loops of IDC and DREAM, end to end, with every recorded random choice, through our engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.recipe import Recipe
from limbeck.engine.loop import Loop
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.networks import build
from limbeck.ops import momentum
from limbeck.training.clustering import Clustering
from tests.parity.recorded import Given, RecordedNetwork, RecordedSet, ReplayStreams
from tests.parity.vectors_dir import find
from tests.parity.weights import load_convnet_weights

TRACES = [path for path in find("idc_trace") if not path.name.startswith("idc_trace_aug")]
AUGMENTED = find("idc_trace_aug")
DREAMS = find("dream_trace")
TOLERANCE = 1e-8
TIE = 1e-9
"""Two images this near to the same distance from a centre are both right."""


class Trace:
    """A recorded run."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)
        hyper = self.arrays["hyper"].tolist()
        self.iterations, self.steps, self.batch, self.ipc, self.factor, self.samples = map(int, hyper[:6])
        self.lr, self.momentum, self.net_lr, self.net_momentum, self.weight_decay = hyper[6:]
        self.data = RecordedSet(self.tensor("images_u8"), self.tensor("labels"))
        self.classes = self.data.spec.classes

    def tensor(self, name: str) -> Tensor:
        return torch.tensor(self.arrays[name])

    def stored(self, name: str) -> Tensor:
        """Recorded images ``[..., K * n, C, H, W]`` class-blocked."""
        images = self.tensor(name)
        return images.unflatten(-4, (self.classes, self.ipc))

    def recorded(self) -> dict[tuple[str | int, ...], list[Tensor]]:
        """Random choices by the key of our streams, but for augmentation."""
        found: dict[tuple[str | int, ...], list[Tensor]] = {("network", i): [] for i in range(self.iterations)}
        if "real_idx" in self.arrays:
            batches = self.tensor("real_idx").flatten(0, 1)  # [step, class, position]
            for label in range(self.classes):
                members = self.data.class_rows(label)
                position = {int(row): index for index, row in enumerate(members)}
                per_epoch = len(members) // batches.shape[-1]
                for epoch, some in enumerate(batches[:, label].split(per_epoch)):
                    rows = [position[int(row)] for row in some.flatten()]
                    found["real", label, epoch] = [torch.tensor(rows)]
        batches = self.tensor("net_idx").flatten(0, 2)
        per_epoch = len(self.data) // batches.shape[-1]
        for epoch, some in enumerate(batches.split(per_epoch)):
            found["network training", epoch] = [some.flatten()]
        return found

    def recipe(self, base: Recipe, **changes: object) -> Recipe:
        # The recorded networks have the sizes of the file, not of the preset.
        width, depth = self.network_shape()
        return base.with_(
            initializer=Given(stored=self.stored("syn0")),
            parametrization__factor=self.factor,
            curriculum__iterations=self.iterations,
            curriculum__steps=self.steps,
            optimizer__lr=self.lr,
            optimizer__momentum=self.momentum,
            optimizer__scale_with_ipc=False,
            optimizer__reference_size=0,
            pool__network=f"convnet{depth}:width={width}",
            pool__samples=self.samples,
            pool__training__lr=self.net_lr,
            pool__training__momentum=self.net_momentum,
            pool__training__weight_decay=self.weight_decay,
            pool__training__batch_size=int(self.arrays["net_idx"].shape[-1]),
            **changes,
        )

    def network_shape(self) -> tuple[int, int]:
        names = [str(name) for name in self.arrays["names"]]
        shapes = [self.arrays[f"net0_p{index:02d}"].shape for index in range(len(names))]
        return shapes[0][0], sum(len(shape) == 4 for shape in shapes)

    def loop(self, recipe: Recipe, recorded: dict[tuple[str | int, ...], list[Tensor]]) -> Loop:
        lives = [load_convnet_weights(self.arrays, f"net{i}_") for i in range(self.iterations)]
        context = Context(
            data=self.data,
            ipc=self.ipc,
            streams=ReplayStreams(recorded),
            build=lambda name, spec: RecordedNetwork(build(name, spec), lives),
            dtype=torch.float64,
        )
        recipe.check(context)
        return Loop(recipe, context, class_block=2)  # two blocks of unequal size

    def check_run(self, loop: Loop) -> None:
        """Losses of every step, and images at the end of every outer iteration."""
        state = loop.start()
        losses, ends = [], []
        for _ in range(loop.length()):
            state, loss = loop.step(state)
            losses.append(loss)
            if state.ordinal % self.steps == 0:
                ends.append(state.stored)
        expected = self.tensor("match_loss").flatten(0, 1)
        torch.testing.assert_close(torch.stack(losses), expected, rtol=TOLERANCE, atol=TOLERANCE)
        torch.testing.assert_close(torch.stack(ends), self.stored("syn"), rtol=0, atol=TOLERANCE)

    def check_first_round(self, loop: Loop) -> None:
        """Images of all classes after each class's step: the others coast on their velocity."""
        recipe, context = loop.recipe, loop.context
        state = loop.start()
        _, stored = recipe.optimizer.open_iteration({}, state.stored, torch.zeros(1), torch.ones(1), 0)
        view = recipe.pool.view(state.parts["pool"], context)
        moment = recipe.curriculum.moment(0)
        parts = dict(state.parts)
        parts["sampler"] = recipe.sampler.refresh(parts["sampler"], context, moment, view)
        at_turn = recipe.optimizer.at_turn(parts["optimizer"], stored, context)
        block = loop._block(tuple(range(self.classes)), at_turn, parts, moment)
        _, gradients = recipe.objective.gradients(view, block, loop._peers)
        expected = self.stored("syn_first")
        for turn in range(len(expected)):
            for label in range(self.classes):
                images, velocity = stored[label], torch.zeros_like(stored[label])
                if label <= turn:
                    images, velocity = momentum.coast(images, velocity, self.lr, self.momentum, label)
                    images, velocity = momentum.step(images, velocity, gradients[label], self.lr, self.momentum)
                    images, velocity = momentum.coast(images, velocity, self.lr, self.momentum, turn - label)
                torch.testing.assert_close(images, expected[turn, label], rtol=0, atol=1e-9)


def augmentation_draws(trace: Trace) -> dict[tuple[str | int, ...], list[Tensor]]:
    """The recorded sequence of draws, cut into the pieces that our keys ask for."""
    lengths = trace.arrays["draw_len"].tolist()
    pieces = list(torch.tensor(trace.arrays["draw_val"]).split(lengths))
    kinds = [str(kind) for kind in trace.arrays["draw_kind"]]
    found: dict[tuple[str | int, ...], list[Tensor]] = {}
    batches = trace.arrays["net_idx"].shape[2]
    position = 0

    def take(count: int) -> list[Tensor]:
        nonlocal position
        position += count
        return pieces[position - count : position]

    for iteration in range(trace.iterations):
        for step in range(trace.steps):
            for label in range(trace.classes):
                found["augmentation", iteration, step, label] = take(8)
            for batch in range(batches):
                number = (iteration * trace.steps + step) * batches + batch
                found["training augmentation", number] = take(6)
                mixed = take(1)
                if float(mixed[0]) < 0.5:
                    assert kinds[position] == "beta"
                    mixed += take(4)
                found["cutmix", number] = mixed
    assert position == len(pieces), "the recorded draws are used up exactly"
    return found


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_idc_without_augmentation(path: Path) -> None:
    trace = Trace(path)
    recipe = trace.recipe(
        idc(), augmentation=None, pool__training__augmentation=None, pool__training__cutmix=0.0
    ).with_(sampler__batch_size=trace.batch)
    trace.check_first_round(trace.loop(recipe, trace.recorded()))
    trace.check_run(trace.loop(recipe, trace.recorded()))


@pytest.mark.parametrize("path", AUGMENTED, ids=lambda path: path.stem)
def test_idc_with_augmentation_and_cutmix(path: Path) -> None:
    trace = Trace(path)
    recipe = trace.recipe(idc()).with_(sampler__batch_size=trace.batch)
    recorded = trace.recorded() | augmentation_draws(trace)
    trace.check_first_round(trace.loop(recipe, recorded))
    trace.check_run(trace.loop(recipe, recorded))


@pytest.mark.parametrize("path", DREAMS, ids=lambda path: path.stem)
def test_dream(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace(path)
    interval = -(-trace.steps // trace.arrays["match_pick"].shape[1])
    base = dream("cifar10-code")
    initializer = base.initializer
    recipe = trace.recipe(base, augmentation=None, pool__training__augmentation=None, pool__training__cutmix=0.0).with_(
        sampler__batch_size=trace.batch, sampler__interval=interval, initializer=initializer
    )
    recorded = trace.recorded()
    picks: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {(): (trace.tensor("init_pick"), trace.tensor("init_gap"))}
    for label in range(trace.classes):
        recorded["cluster starts", label] = [trace.tensor("init_centroid_idx")[label]]
    for iteration in range(trace.iterations):
        for event in range(trace.arrays["match_pick"].shape[1]):
            key = (iteration, event * interval)
            picks[key] = (
                trace.tensor("match_pick")[iteration, event],
                trace.tensor("match_gap")[iteration, event],
            )
            for label in range(trace.classes):
                recorded["cluster starts", *key, label] = [trace.tensor("match_centroid_idx")[iteration, event, label]]
    ours = Clustering.pick
    compared = 0

    def pick(self: Clustering, context, view, clusters, per_cluster, key, earlier=None):  # type: ignore[no-untyped-def]
        """Our picks, which must be the recorded ones; in a tie the recorded one is taken, to stay on the path."""
        nonlocal compared
        expected, gaps = picks[key]
        rows = []
        for label, found in enumerate(ours(self, context, view, clusters, per_cluster, key)):
            wanted = context.data.class_rows(label)[expected[label]]
            clear = gaps[label] > TIE
            assert torch.equal(found[clear], wanted[clear])
            compared += int(clear.sum())
            rows.append(wanted)
        return rows

    monkeypatch.setattr(Clustering, "pick", pick)
    loop = trace.loop(recipe, recorded)
    torch.testing.assert_close(loop.start().stored, trace.stored("syn0"), rtol=0, atol=1e-9)
    trace.check_first_round(loop)
    trace.check_run(loop)
    assert compared > 0
