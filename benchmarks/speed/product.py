"""limbeck's own steps on the same numbers, through the contracts that a run uses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.speed.cases import MEAN, STD, Case
from limbeck.core.batch import Block, Moment, Trajectory, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.distill import make_context
from limbeck.engine.settings import Settings
from limbeck.evaluation import protocols
from limbeck.methods.dc import dc
from limbeck.methods.dm import dm
from limbeck.methods.dream import dream
from limbeck.methods.dsa import dsa
from limbeck.methods.dsdm import dsdm
from limbeck.methods.dwa import dwa
from limbeck.methods.idc import idc
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.samplers.representative import Representative
from limbeck.training.ensemble import side_by_side, split, stack
from limbeck.training.lessons import Shuffled
from limbeck.training.supervised import fit, still

__all__ = [
    "Clustering",
    "Evaluation",
    "Matching",
    "NetworkUpdate",
    "Recovery",
    "TrajectorySteps",
    "cluster_start",
    "make",
]

_KEY = (0, 0)
"""Where in a run the clustering happens."""


class _Contender:
    """A recipe in its surroundings, and the network with the given weights."""

    def __init__(self, case: Case, recipe: Recipe, settings: Settings) -> None:
        self.case = case
        self.recipe = recipe.with_(pool__network=f"convnet3:width={case.width}")
        self.context: Context = make_context(self.recipe, _data(case), case.ipc, case.seed, settings)
        assert self.recipe.pool is not None
        self.network = self.recipe.pool.architecture(self.context)
        self.weights: Weights = dict(zip(self.network.parameter_names(), case.weights(), strict=True))


class Matching(_Contender):
    """One inner step: all classes of a block, and the update of the stored images."""

    def __init__(self, case: Case, recipe: Recipe, settings: Settings) -> None:
        super().__init__(case, recipe.with_(optimizer__lr=case.lr, optimizer__scale_with_ipc=False), settings)
        recipe, context = self.recipe, self.context
        assert recipe.objective is not None and recipe.optimizer is not None
        self.objective, self.optimizer = recipe.objective, recipe.optimizer
        self.peers = Peers(recipe.parametrization, recipe.augmentation, context.spec)
        self.state = self.optimizer.init(context)
        stored = case.stored()
        normalized = recipe.parametrization.space == "normalized"
        self.stored = context.spec.normalization.apply(stored) if normalized else stored
        self.losses = self.gradients = torch.zeros(0)
        self.memory = self.objective.init(context)
        self.number = 0

    def step(self) -> None:
        """As the loop of a run takes it."""
        case, context, labels = self.case, self.context, range(self.case.classes)
        at_turn = self.optimizer.at_turn(self.state, self.stored, context)
        block = Block(
            labels=tuple(labels),
            stored=at_turn,
            targets=torch.arange(case.classes).unsqueeze(1).expand(-1, case.decoded),
            real=context.data.images(torch.stack([case.rows(self.number, label) for label in labels])),
            counts=(case.real,) * case.classes,
            draws=tuple(case.numbers(self.number, label) for label in labels),
            memory=self.memory,
        )
        view = View(self.network, self.weights)
        self.losses, self.gradients = self.objective.gradients(view, block, self.peers)
        self.state, self.stored = self.optimizer.update(
            self.state, self.stored, self.gradients, context, Moment(0, 0, 1)
        )
        moment = Moment(iteration=self.number, step=0, steps=1)
        self.memory = self.objective.advance(self.memory, context, moment, view, self.stored, self.peers)
        self.number += 1


class TrajectorySteps(_Contender):
    """One iteration: a student from given weights towards others, and a step of the images and of its step size.

    The step size is learnt as it is (``rate="raw"``), as the authors do.

    Args:
        case: what is timed.
        settings: how it is computed.
        engine: how the gradient is found.
        batch: images of a student step; 0 for all.
    """

    def __init__(self, case: Case, settings: Settings, engine: str, batch: int = 0) -> None:
        recipe = mtt("cifar10-channels", ipc=case.ipc).with_(
            objective__engine=engine,
            objective__student_steps=case.student_steps,
            objective__student_lr=case.student_lr,
            objective__lr_step=case.lr_step,
            objective__rate="raw",
            objective__synthetic_batch=batch,
            optimizer__lr=case.lr,
        )
        super().__init__(case, recipe if case.tokens else recipe.with_(augmentation=None), settings)
        recipe, context, self.batch = self.recipe, self.context, batch
        assert isinstance(recipe.objective, TrajectoryMatching) and recipe.optimizer is not None
        self.objective, self.optimizer = recipe.objective, recipe.optimizer
        self.peers = Peers(recipe.parametrization, recipe.augmentation, context.spec)
        device, dtype = context.device, context.dtype
        ends = (self.weights, dict(zip(self.weights, case.target(), strict=True)))
        first, target = ({name: one.to(device, dtype) for name, one in some.items()} for some in ends)
        self.view = View(self.network, first, trajectory=Trajectory((first, target), 0, 1))
        self.stored = context.spec.normalization.apply(case.stored()).to(device, dtype)
        self.state, self.memory = self.optimizer.init(context), self.objective.init(context)
        self.losses = self.gradients = torch.zeros(0)
        self.number = 0

    @property
    def rate(self) -> Tensor:
        """The student's step size."""
        return self.objective.learnt(self.memory)["student_lr"]

    def step(self) -> None:
        """As the loop of a run takes it."""
        case, context, moment = self.case, self.context, Moment(self.number, 0, 1)
        draws = {"seed": torch.tensor(0)}
        for number in range(case.student_steps):
            rows, numbers = case.lesson(self.number, number)
            few = self.batch or len(rows)
            draws[f"batch/{number}"] = rows[:few]
            draws |= {f"{number}/{name}": values[:few] for name, values in numbers.items()}
        targets = torch.arange(case.classes, device=context.device).unsqueeze(1).expand(-1, case.ipc)
        block = Block(
            labels=tuple(range(case.classes)),
            stored=self.optimizer.at_turn(self.state, self.stored, context),
            targets=targets,
            real=self.stored.new_empty(case.classes, 0, 3, case.side, case.side),
            counts=(0,) * case.classes,
            draws=(draws,) * case.classes,
            memory=self.memory,
        )
        pull = self.objective.pull(self.view, block, self.peers)
        guard = self.objective.guards()
        if not guard.accepts(pull.losses, (pull.gradients, *pull.learnt.values())):
            raise RuntimeError("the guard refuses a step that it is to be timed with")
        self.losses, self.gradients = pull.losses, pull.gradients
        self.state, self.stored = self.optimizer.update(self.state, self.stored, self.gradients, context, moment)
        self.memory = self.objective.learn(self.memory, context, moment, pull.learnt)
        self.number += 1


class Recovery:
    """One inner step on a group of one image per class, with a network that is there."""

    iterations = 1000

    def __init__(self, case: Case, settings: Settings) -> None:
        self.case = case
        self.recipe = dwa("cifar100").with_(optimizer__lr=case.lr, curriculum__steps=self.iterations)
        context = make_context(self.recipe, _data(case), case.ipc, case.seed, settings)
        recipe = self.recipe
        assert recipe.objective and recipe.optimizer and recipe.pool and recipe.curriculum
        self.objective, self.optimizer, self.curriculum = recipe.objective, recipe.optimizer, recipe.curriculum
        (group,) = self.curriculum.groups(context)
        self.context = replace(context, group=group)
        self.peers = Peers(recipe.parametrization, recipe.augmentation, context.spec)
        network = recipe.pool.architecture(context)
        weights = {
            f"classifier{name[2:]}" if name.startswith("fc.") else f"body.{name}": tensor
            for name, tensor in case.teacher().items()
        }
        self.view = View(network, weights, train=False)
        ends = torch.tensor([0.0, 1.0], dtype=case.torch_dtype).view(2, 1, 1, 1).expand(2, 3, 1, 1)
        low, high = context.spec.normalization.apply(ends)
        self.stored = context.spec.normalization.apply(case.stored())
        self.state, self.stored = self.optimizer.open_iteration(
            self.optimizer.init(self.context), self.stored, low, high, 0
        )
        self.losses = self.gradients = torch.zeros(0)
        self.number = 0

    def step(self) -> None:
        """As the loop of a run takes it."""
        case, moment = self.case, self.curriculum.moment(self.number)
        block = Block(
            labels=tuple(range(case.classes)),
            stored=self.optimizer.at_turn(self.state, self.stored, self.context),
            targets=torch.arange(case.classes).unsqueeze(1),
            real=self.stored.new_empty(case.classes, 0, 3, case.side, case.side),
            counts=(0,) * case.classes,
            draws=(case.shifts(self.number),) * case.classes,
        )
        self.losses, self.gradients = self.objective.gradients(self.view, block, self.peers)
        self.state, self.stored = self.optimizer.update(self.state, self.stored, self.gradients, self.context, moment)
        self.number += 1


class Clustering(_Contender):
    """The representatives of every class, by the variant that follows the authors' code."""

    def __init__(self, case: Case, settings: Settings) -> None:
        super().__init__(case, dream("cifar10-code"), settings)
        assert isinstance(self.recipe.sampler, Representative)
        self.clustering = self.recipe.sampler.clustering
        self.picks = torch.zeros(0, dtype=torch.int64)

    def step(self) -> None:
        """Cluster the class."""
        view = View(self.network, self.weights)
        (self.picks,) = self.clustering.pick(self.context, view, self.case.clusters, 1, _KEY)


class NetworkUpdate(_Contender):
    """What the pool does after an inner step."""

    def __init__(self, case: Case, settings: Settings) -> None:
        recipe = idc("cifar10").with_(
            pool__samples=case.samples,
            pool__training__batch_size=case.batch,
            pool__training__lr=case.lr,
            pool__training__cutmix=case.cutmix,
        )
        if not case.operations:
            recipe = recipe.with_(pool__training__augmentation=None)
        super().__init__(case, recipe, settings)
        assert isinstance(self.recipe.pool, TrainedOnReal)
        self.pool = self.recipe.pool
        self.state = {"weights": self.weights, "velocity": still(self.network, self.weights, self.pool.training)}
        self.number = 0

    def step(self) -> None:
        """Train on the next batches."""
        moment = Moment(iteration=0, step=self.number, steps=self.number + 2)
        self.state = self.pool.advance(self.state, self.context, moment, self._no_images)
        self.number += 1

    @staticmethod
    def _no_images() -> tuple[Tensor, Tensor]:
        raise AssertionError("this pool trains on real images")


class Evaluation(_Contender):
    """One epoch of IDC's protocol, by one network or by several, as many side by side as the settings say."""

    def __init__(self, case: Case, settings: Settings) -> None:
        training = protocols.idc().training
        changed = {"lr": case.lr, "cutmix": case.cutmix, "batch_size": case.batch}
        if not case.operations:
            changed["augmentation"] = None
        recipe = idc("cifar10").with_(pool__training=training)
        recipe = recipe.with_(**{f"pool__training__{name}": value for name, value in changed.items()})
        super().__init__(case, recipe, settings)
        assert isinstance(self.recipe.pool, TrainedOnReal)
        data, training = self.context.data, self.recipe.pool.training
        images = data.spec.normalization.apply(data.images(torch.arange(len(data))))
        size = settings.resolve(self.context.device, self.context.dtype, 0.0, networks=case.together).together
        self.each: list[Weights] = []
        self._epochs = []
        for first in range(0, case.together, size):
            numbers = range(first, min(first + size, case.together))
            network = side_by_side(self.network, len(numbers))
            weights = stack([{name: one.clone() for name, one in self.weights.items()} for _ in numbers])
            self.each += split(network, weights)
            streams = [Streams(case.seed + number) for number in numbers]
            self._epochs.append(
                fit(
                    network,
                    weights,
                    lambda rows: images[rows],
                    data.labels,
                    training,
                    streams[0],
                    data.spec.shape,
                    lambda epoch: case.lr,
                    steps=1_000_000,
                    lessons=[Shuffled(own, training, data.spec.shape, len(data)) for own in streams],
                )
            )

    def step(self) -> None:
        """The next epoch."""
        for epochs in self._epochs:
            next(epochs)


def make(
    case: Case, settings: Settings
) -> Matching | TrajectorySteps | Recovery | Clustering | NetworkUpdate | Evaluation:
    """The product's side of a case.

    Args:
        case: what is timed.
        settings: how it is computed.
    """
    match case.kind:
        case "idc":
            recipe = idc("cifar10", factor=case.factor).with_(optimizer__reference_size=0)
            return Matching(case, recipe if case.operations else recipe.with_(augmentation=None), settings)
        case "dc":
            return Matching(case, dsa("cifar10") if case.tokens else dc("cifar10"), settings)
        case "dm":
            recipe = dm("cifar10")
            return Matching(case, recipe if case.tokens else recipe.with_(augmentation=None), settings)
        case "dsdm":
            recipe = dsdm("cifar10", factor=case.factor)
            return Matching(case, recipe if case.operations else recipe.with_(augmentation=None), settings)
        case "mtt":
            return TrajectorySteps(case, settings, "adjoint")
        case "tesla":
            return TrajectorySteps(case, settings, "tesla")
        case "recover":
            return Recovery(case, settings)
        case "clustering":
            return Clustering(case, settings)
        case "update":
            return NetworkUpdate(case, settings)
        case _:
            return Evaluation(case, settings)


def cluster_start(case: Case) -> list[int]:
    """Rows that the product's clustering starts from, for others to start from as well."""
    stream = Streams(case.seed)("cluster starts", *_KEY, 0)
    return stream.integers(0, case.per_class - 1, case.clusters).tolist() if case.clusters else []


def _data(case: Case) -> Data:
    pixels, labels = case.pixels()
    spec = DataSpec(
        name="random",
        channels=3,
        height=case.side,
        width=case.side,
        class_names=tuple(map(str, range(case.classes))),
        normalization=Normalization(MEAN, STD, "published"),
        digest=f"random-{case.name}-{case.seed}",
    )
    return Data(train=ImageSet(pixels, labels, spec), validation=None, test=None, spec=spec)
