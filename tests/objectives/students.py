"""An expert and images for tests of what a student makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from limbeck.core.batch import Block, Moment, Trajectory, View
from limbeck.core.context import Context
from limbeck.core.contracts import Augmentation, Parametrization, Peers, Pull
from limbeck.core.execution import Execution
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.parametrizations.plain import Plain

CPU = torch.device("cpu")
SMOOTH = "convnet2:width=4,activation=swish"
PLAIN = Plain(space="normalized")


class Case:
    """An expert, images and the random numbers of one outer step."""

    def __init__(
        self,
        context: Context,
        objective: TrajectoryMatching,
        network: str = SMOOTH,
        parametrization: Parametrization = PLAIN,
        augmentation: Augmentation | None = None,
        execution: Execution | None = None,
        start: int = 3,
    ) -> None:
        self.objective, self.context = objective, context
        self.network = context.build(network, context.spec).to(CPU, context.dtype, execution)
        streams = Streams(1)

        def near(weights: Weights, number: int) -> Weights:
            """Weights somewhat further on."""
            return {
                name: tensor + 0.02 * streams("way", number, place).normal(*tensor.shape).to(tensor)
                if tensor.is_floating_point()
                else tensor
                for place, (name, tensor) in enumerate(weights.items())
            }

        path = [self.network.initial(streams("expert"))]
        path += [near(path[0], 1), near(path[0], 2), near(path[0], 3)]
        self.view = View(self.network, path[0], trajectory=Trajectory(tuple(path), start, 8))
        self.peers = Peers(parametrization, augmentation, context.spec)
        self.stored = streams("stored").uniform(*context.stored_shape).to(context.dtype)

    def block(self) -> Block:
        labels, parts = tuple(self.context.labels), self.peers.parametrization.parts(self.context.ipc)
        drawn = self.objective.draws(self.context, Moment(iteration=2, step=0, steps=1), labels, self.peers)
        return Block(
            labels=labels,
            stored=self.stored,
            targets=torch.tensor(labels).unsqueeze(1).expand(-1, parts),
            real=torch.zeros(len(labels), 0),
            counts=(0,) * len(labels),
            draws=tuple(draws for draws, _ in drawn),
            memory=self.objective.init(self.context),
        )

    def pull(self, **changes: Any) -> Pull:
        return replace(self.objective, **changes).pull(self.view, self.block(), self.peers)


def agree(one: Pull, other: Pull, **close: float) -> None:
    close = close or {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(one.losses, other.losses, **close)
    torch.testing.assert_close(one.gradients, other.gradients, **close)
    torch.testing.assert_close(one.learnt["student_lr"], other.learnt["student_lr"], **close)
