"""Experts whose way through the weights is imitated (MTT, TESLA, FTD, AST)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from limbeck.core.batch import Moment, Trajectory, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.storage.trajectories import is_sound, read_manifest, read_snapshot, trajectory_path
from limbeck.training.beginnings import Beginning
from limbeck.training.expert_folders import Wanted, cached_folder, require_fitting
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.experts import build_experts, rebuild_expert, train_experts
from limbeck.training.scoring import CHECKPOINTS
from limbeck.training.settings import Training

__all__ = ["Experts"]


@dataclass(frozen=True, kw_only=True)
class Experts(Pool):
    """``count`` networks trained on the real images, of whose trajectories each outer iteration draws a piece.

    A piece begins at an epoch t of ``starts`` and has the weights after the epochs t to t + ``span``. Experts are kept
    in the cache or in a folder of their own (`limbeck.training.experts`), and of each only the epochs that can be drawn
    and the last one; the state holds the piece and what identifies the files. An expert that is missing or damaged is
    trained again, to the same bytes, or refused where the folder was given; it is never used. Without a cache all
    snapshots are part of the state.
    """

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    count: int = 100
    """Experts."""
    course: ExpertTraining = field(default_factory=ExpertTraining)
    """How each is trained."""
    span: int = 2
    """Epochs of a piece (M)."""
    starts: int = 20
    """Epochs that a piece may begin with: those before this one (T+)."""
    order: Literal["shuffled", "uniform"] = "shuffled"
    """All experts in a random order, then again in another, or each time any of them."""
    start_range: int = 0
    """How far from the one before a piece may begin, in epochs (AST, figure 5); 0: anywhere."""
    store: str = ""
    """Folder of finished experts, made by `limbeck experts --out`; empty: trained before the run, or from the cache."""
    half: bool = False
    """Whether snapshots are kept in float16, half the disk."""
    normalization: Literal["any", "zca", "channels"] = "any"
    """How data must be normalized for these settings: whitened, by channels, or as they are."""
    seed: int | None = 0
    """Seed of the experts, by default 0, so that runs of several seeds share them; none takes the run's."""

    @property
    def training(self) -> Training:
        """How its networks are trained, for predictions."""
        return self.course.training

    def offers(self) -> frozenset[str]:
        """What every pool offers, trajectories, and networks that label."""
        return super().offers() | {"expert trajectories", "labelling networks"}

    def check(self, context: Context) -> None:
        """The network exists, the pieces lie within the training, the data are normalized so, and the store fits."""
        context.network(self.network)
        self.course.check("pool 'experts'")
        if min(self.count, self.span, self.starts) < 1 or self.start_range < 0:
            raise InputError(
                "pool 'experts' needs count, span and starts >= 1 and start_range >= 0, not "
                f"{self.count}, {self.span}, {self.starts} and {self.start_range}."
            )
        if self._last_read > self.course.epochs:
            raise InputError(
                f"pool 'experts' reads up to epoch {self._last_read} (starts - 1 + span) of experts that are trained "
                f"for {self.course.epochs}; raise course.epochs, or lower starts or span."
            )
        whitened = context.spec.normalization.whitening is not None
        if self.normalization == "zca" and not whitened:
            raise InputError(
                "pool 'experts' has settings for whitened images; load the data with --normalization zca, or set its "
                "normalization to any (--pool.normalization any)."
            )
        if self.normalization == "channels" and whitened:
            raise InputError(
                "pool 'experts' has settings for images that are not whitened; load the data without --normalization "
                "zca, or set its normalization to any (--pool.normalization any)."
            )
        if self.course.training.augmentation is not None:
            self.course.training.augmentation.fits(context.spec)
        if self.store:
            require_fitting(context, self.wanted(context), self._store)

    def wanted(self, context: Context, *, every: bool = False) -> Wanted:
        """Its experts, for `limbeck.training.experts`.

        Args:
            context: the run.
            every: whether all epochs are kept, not only those that are read.
        """
        read = range((self.course.epochs if every else self._last_read) + 1)
        return Wanted(
            network=self.network,
            course=self.course,
            count=self.count,
            epochs=tuple(sorted({*read, self.course.epochs})),
            half=self.half,
            seed=context.streams.seed if self.seed is None else self.seed,
            beginning=_beginning(context),
        )

    def of_segment(self, context: Context) -> Experts:
        """Experts of the segment's own where it wants some, in the cache and with seeds that are the segment's."""
        pieces = context.pieces
        if pieces is None or not pieces.experts:
            return self
        course = replace(self.course, epochs=pieces.epochs)
        return replace(self, count=pieces.experts, course=course, starts=pieces.starts, store="", seed=None)

    def init(self, context: Context) -> State:
        """Experts that are there or trained now; of files, only what identifies them."""
        state: State = {"expert": -1, "start": -1, "piece": []}
        wanted = self.wanted(context)
        folder = self._store if self.store else cached_folder(context, wanted)
        if folder is None:
            experts = train_experts(context, wanted)
            network = context.network(self.network)
            held = [{str(key): _placed(one, network) for key, one in found.snapshots.items()} for found in experts]
            return {**state, "folder": "", "snapshots": held, "experts": [found.facts for found in experts]}
        if self.store:
            entries = require_fitting(context, wanted, folder)[: self.count]
        else:
            entries = build_experts(context, _kept_there(wanted, context, folder), folder)
        return {**state, "folder": "" if self.store else folder.name, "snapshots": [], "experts": entries}

    def copies(self) -> int:
        """A piece; with a cache, nothing else of the experts is held."""
        return self.span + 1

    def passes(self, context: Context, load: Workload) -> float:
        """Training of all experts, unless they are finished."""
        if self.store:
            return 0.0
        return self.course.passes * self.count * self.course.epochs * len(context.data)

    def probe(self, context: Context) -> View:
        """Fresh networks in place of the snapshots of a piece."""
        network = self.architecture(context)
        piece = tuple(network.initial(context.streams("probe", number)) for number in range(self.span + 1))
        return View(network, piece[0], trajectory=Trajectory(piece, 0, self.starts))

    def kept(self, context: Context) -> float:
        """Experts that were trained before."""
        folder = None if self.store else cached_folder(context, self.wanted(context))
        entries = (read_manifest(folder) or {}).get("experts", ()) if folder is not None else ()
        return min(1.0, len(entries) / self.count)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """A piece of one expert."""
        expert, start = self._expert(context, iteration), self._start(state, context, iteration)
        piece = self._snapshots(state, context, expert, range(start, start + self.span + 1))
        return {**state, "expert": expert, "start": start, "piece": piece}

    def view(self, state: State, context: Context) -> View:
        """The expert where the piece begins, and the piece."""
        network, piece = context.network(self.network), tuple(state["piece"])
        return View(network, piece[0], trajectory=Trajectory(piece, state["start"], self.starts))

    def looks(self, state: State, context: Context) -> View:
        """One of the experts after its last epoch."""
        chosen = int(context.streams("expert that looks").integers(0, self.count - 1))
        (weights,) = self._snapshots(state, context, chosen, [self.course.epochs])
        return View(context.network(self.network), weights, train=False)

    def judges(self, state: State, context: Context) -> Iterator[View]:
        """Every expert after the last epoch that a piece may end with."""
        for number in range(self.count):
            (weights,) = self._snapshots(state, context, number, [self._last_read])
            yield View(context.network(self.network), weights, train=False)

    def record(self, state: State, context: Context) -> dict[str, Any]:
        """How good the experts are, and how far they went in each epoch."""
        told = ("accuracy", "avg_var", "changes")
        return {"experts": [{name: entry[name] for name in told} for entry in state["experts"]]}

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Experts stay as they are."""
        return state

    @property
    def _last_read(self) -> int:
        return self.starts - 1 + self.span

    @property
    def _store(self) -> Path:
        return Path(self.store).expanduser()

    def _expert(self, context: Context, iteration: int) -> int:
        if self.order == "uniform":
            return int(context.streams("expert", iteration).integers(0, self.count - 1))
        round_, place = divmod(iteration, self.count)
        return int(context.streams("order of experts", round_).permutation(self.count)[place])

    def _start(self, state: State, context: Context, iteration: int) -> int:
        pieces, before = context.pieces, state["start"]
        epochs = range(self.starts) if pieces is None else pieces.window(self.starts)
        low, high = epochs[0], epochs[-1]
        if self.start_range and before >= 0:
            low, high = max(low, before - self.start_range), min(high, before + self.start_range)
        return int(context.streams("start of a piece", iteration).integers(low, high))

    def _snapshots(self, state: State, context: Context, number: int, epochs: Any) -> list[Weights]:
        """Some snapshots of an expert, from the state or from its file, which is whole."""
        network = context.network(self.network)
        if state["snapshots"]:
            return [state["snapshots"][number][str(epoch)] for epoch in epochs]
        path = self._sound_file(state, context, number)
        return [read_snapshot(path, epoch, network) for epoch in epochs]

    def _sound_file(self, state: State, context: Context, number: int) -> Path:
        """The file of an expert, trained again if it is not the one that the run began with."""
        expected = state["experts"][number]["digest"]
        if self.store:
            path = trajectory_path(self._store, number)
            if not is_sound(path, expected):
                raise RunError(f"{path} is missing, damaged or not the expert that this run began with; restore it.")
            return path
        if context.cache is None:
            raise RunError("this run keeps its experts in a cache of networks; resume it with one (--network-cache).")
        folder = context.cache / "experts" / state["folder"]
        path = trajectory_path(folder, number)
        if not is_sound(path, expected):
            context.say(f"expert {number} is missing or damaged in {folder} and is trained again")
            rebuild_expert(context, _kept_there(self.wanted(context), context, folder), folder, number)
            if not is_sound(path, expected):
                raise RunError(
                    f"expert {number} in {folder} was trained again and is not the one that this run began with, "
                    "because numbers are rounded otherwise here; restore the folder, or begin another run."
                )
        return path


def _kept_there(wanted: Wanted, context: Context, folder: Path) -> Wanted:
    """The same experts with all epochs, if the folder is that of experts of which all are kept."""
    every = replace(wanted, epochs=tuple(range(wanted.course.epochs + 1)))
    return every if cached_folder(context, every) == folder else wanted


def _beginning(context: Context) -> Beginning | None:
    """What a segment's own experts begin with: networks at the end of their training on the segments before."""
    if context.pieces is None or not context.pieces.experts or context.focus is None:
        return None
    return Beginning(context.bank[len(CHECKPOINTS) - 1 :: len(CHECKPOINTS)], context.focus)


def _placed(weights: Weights, network: FunctionalNetwork) -> Weights:
    """Snapshots where the network computes, in its dtype."""
    return {
        name: tensor.to(network.device, network.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in weights.items()
    }
