"""Segments from easy to hard: each learns what those before do not know yet (DASM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group
from limbeck.core.contracts import Curriculum, Earlier, State, Workload
from limbeck.core.errors import InputError
from limbeck.core.focus import Focus
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.ops import difficulty as ops
from limbeck.training.pretraining import pretrained
from limbeck.training.scoring import CHECKPOINTS, difficulty, scorers
from limbeck.training.supervised import Training

__all__ = ["DifficultySegments"]

_LEAST_SHARE = 0.1
"""Share of a class that a window holds at least."""


@dataclass(frozen=True, kw_only=True)
class DifficultySegments(Curriculum):
    """Stored images in segments that are learnt one after the other, each on a part of the real images of its own.

    Before a segment begins, networks are trained on all segments before it. They say how hard every real image is; the
    real batches of the segment come from a window of ranks of each class, which moves from segment to segment, and a
    share of every batch from anywhere in the class but the outliers. Matching begins with one of these networks, as it
    was on its way, or with a fresh one. What is finished does not change any more.

    With one segment, as below 10 images per class unless ``sizes`` says otherwise, all images are learnt together on
    all real ones, as with ``all_at_once``, to the bit.
    """

    references = ("dasmdraft",)

    iterations: int = 2000
    """Outer iterations of all segments together; each gets its share of them by its images."""
    steps: int = 100
    """Inner steps of each."""
    sizes: tuple[int, ...] = ()
    """Stored images of each segment; () takes equal ones, 1, 2, 3, 5 or 10 of them from 1, 10, 20, 50 or 200 images per
    class on."""
    least: int = 200
    """Outer iterations of a segment at least."""
    width: float = 0.4
    """Share of a class that the window takes."""
    batches: int = 2
    """Real batches that a window holds at least, and a tenth of the class; it is widened where it has fewer images."""
    outliers: float = 0.05
    """Share of a class, the hardest images, that is in no window and mixed into no batch."""
    mixing: float = 0.25
    """Share of each real batch that comes from anywhere in the class but the outliers."""
    scorers: int = 3
    """Networks that say how hard images are."""
    scorer_epochs: int = 300
    """Epochs of each on the segments before."""
    training: Training = field(default_factory=Training)
    """How they are trained."""
    order: Literal["easy_to_hard", "hard_to_easy", "random_parts", "all_hard", "all_all"] = "easy_to_hard"
    """Where the windows of successive segments lie: from the easiest images to the hardest or the other way, on parts
    at random, all on the hardest, or everywhere (no windows)."""
    scoring: Literal["previous", "real"] = "previous"
    """Who says how hard images are: networks trained on the segments before, or on the real images."""
    real_epochs: int = 5
    """Epochs of networks that are trained on the real images, where these are asked."""
    previous: float = 0.5
    """Probability that an outer iteration begins with a network trained on the segments before, not with a fresh
    one."""
    first: Literal["all", "easy"] = "all"
    """Real images of the first segment: all, or the easiest as networks see them that were trained on real images."""

    def needs(self) -> frozenset[str]:
        """Real batches, which segments choose, and networks that look at them."""
        return frozenset({"real batches", "networks"})

    def check(self, context: Context) -> None:
        """Sizes add up, and shares are shares."""
        where = "curriculum 'difficulty_segments'"
        if min(self.iterations, self.steps, self.least, self.scorers, self.scorer_epochs, self.real_epochs) < 1:
            raise InputError(
                f"{where} needs iterations, steps, least, scorers, scorer_epochs and real_epochs of at least 1, not "
                f"{self.iterations}, {self.steps}, {self.least}, {self.scorers}, {self.scorer_epochs} and "
                f"{self.real_epochs}."
            )
        if self.sizes and (min(self.sizes) < 1 or sum(self.sizes) != context.ipc):
            raise InputError(
                f"{where} has segments of {self.sizes} images, {sum(self.sizes)} together, but the set is to have "
                f"{context.ipc} images per class; leave sizes out or let them add up to that."
            )
        if self.batches < 0:
            raise InputError(f"{where} needs batches >= 0, not {self.batches}.")
        if not (0 < self.width <= 1 and 0 <= self.outliers < 1 and 0 <= self.mixing <= 1 and 0 <= self.previous <= 1):
            raise InputError(
                f"{where} needs 0 < width <= 1, 0 <= outliers < 1 and mixing and previous in [0, 1], not "
                f"{self.width}, {self.outliers}, {self.mixing} and {self.previous}."
            )
        self.training.check(where)
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def passes(self, context: Context, load: Workload) -> float:
        """Training of the scorers before each segment but the first, and their look at the real images."""
        sizes = self.segments(context.ipc)
        if not sizes:
            return 0.0
        each = context.spec.classes * load.decoded / sizes[0]
        before = sum(sum(sizes[:number]) for number in range(1, len(sizes)))
        looks = (len(sizes) - 1) * len(context.data)
        return self.scorers * (3.0 * self.scorer_epochs * each * before + looks)

    def length(self) -> int:
        """``iterations * steps``, where all is learnt together."""
        return self.iterations * self.steps

    def moment(self, ordinal: int) -> Moment:
        """Iterations one after another."""
        return AllAtOnce(iterations=self.iterations, steps=self.steps).moment(ordinal)

    def segments(self, ipc: int) -> tuple[int, ...]:
        """``sizes``, or equal ones; none where there would be one."""
        sizes = self.sizes or ops.segment_sizes(ipc)
        return sizes if len(sizes) > 1 else ()

    def groups(self, context: Context) -> tuple[Group, ...]:
        """A group of all classes for each segment."""
        groups, start = [], 0
        for number, size in enumerate(self.segments(context.ipc)):
            groups.append(Group(number, range(context.spec.classes), range(start, start + size)))
            start += size
        return tuple(groups)

    def of_segment(self, ipc: int, number: int) -> Curriculum:
        """All of its images at once, for its share of the iterations."""
        sizes = self.segments(ipc)
        return AllAtOnce(iterations=ops.share(self.iterations, sizes[number], sizes, self.least), steps=self.steps)

    def lesson(self, context: Context, earlier: Earlier) -> State:
        """Scorers, what they say, and which real images follow from that for each class."""
        number, sizes = earlier.number, self.segments(context.ipc)
        bank = self._bank(context, earlier)
        scores = self._scores(context, earlier, bank)
        members = [context.data.class_rows(label) for label in range(context.spec.classes)]
        window = self._window(number, len(sizes))
        pools, rests = [], []
        for label, rows in enumerate(members):
            if scores is None or window == (0.0, 1.0):
                pools.append(rows)
                rests.append(rows[:0])
                continue
            order, most = ops.ranked(scores[rows]), 1 - self.outliers
            kept = ops.pool(order, 0.0, most, most, 0)
            if self.order == "random_parts":
                permutation = context.streams("ranks", label).permutation(len(rows))
                order = ops.shuffled(order, self.outliers, permutation)
            least = max(self.batches * earlier.real, round(_LEAST_SHARE * len(rows)))
            pools.append(rows[ops.pool(order, *window, most, least)])
            rests.append(rows[kept])
        initial = [self._initial(context, earlier, label, rows, pools[label]) for label, rows in enumerate(members)]
        lesson = {"pools": pools, "rests": rests, "initial": initial, "bank": bank}
        told = {"images": sizes[number], "window": list(window), **_figures(pools, scores, earlier.lesson)}
        return {**lesson, "told": told, **({} if scores is None else {"scores": scores})}

    def focus(self, context: Context, lesson: State) -> Context:
        """Real batches from the pools, initial images from rows of their own, matching from the bank."""
        pools, rests, initial = (tuple(lesson[name]) for name in ("pools", "rests", "initial"))
        focus = Focus(pools, rests, initial, self.mixing)
        device = context.device
        bank = tuple({name: tensor.to(device) for name, tensor in weights.items()} for weights in lesson["bank"])
        return replace(context, focus=focus, bank=bank, recall=self.previous)

    def remembered(self, lesson: State) -> State:
        """What the next segment is compared with."""
        return {name: lesson[name] for name in ("pools", "told", "scores") if name in lesson}

    def record(self, remembered: Sequence[State]) -> dict[str, Any]:
        """Of each segment its window, the sizes of its pools, how hard these are, and how they go with the last ones.

        ``difficulty`` is the mean over the pools, ``difficulty_of_all`` that over all images, by the same networks:
        those of other segments are others, and know more. ``overlap`` is the intersection of a pool and the last one by
        their union, the mean over classes; ``last_pool_easier`` the share of the last pools whose images are now easier
        than their median was, ``all_easier`` the same of all images.
        """
        return {"segments": [lesson["told"] for lesson in remembered]}

    def _window(self, number: int, count: int) -> tuple[float, float]:
        """Ranks that a segment is learnt on."""
        if number == 0 and self.first == "all":
            return 0.0, 1.0
        if number == 0:
            return 0.0, min(self.width, 1 - self.outliers)
        return ops.window(number, count, self.width, self.outliers, self.order)

    def _bank(self, context: Context, earlier: Earlier) -> list[Weights]:
        """Networks trained on the segments before, network by network at all their checkpoints; none for the first."""
        if earlier.number == 0 or (self.previous == 0 and self.scoring == "real"):
            return []
        context.say(f"training {self.scorers} networks on the {earlier.number} segments before")
        own = replace(context, streams=Streams(context.streams("scorers", earlier.number).seed))
        images, targets = earlier.images, earlier.targets
        found = scorers(own, earlier.network, images, targets, self.training, self.scorer_epochs, self.scorers)
        return [weights for network in found for weights in network]

    def _scores(self, context: Context, earlier: Earlier, bank: list[Weights]) -> Tensor | None:
        """How hard each real image is; None where nobody is asked."""
        if earlier.number == 0 and self.first == "all":
            return None
        if earlier.number == 0 or self.scoring == "real":
            name = earlier.network.name
            judges = list(pretrained(context, name, self.training, self.real_epochs, self.scorers))
        else:
            judges = bank[len(CHECKPOINTS) - 1 :: len(CHECKPOINTS)]
        return difficulty(context, earlier.network, judges)

    def _initial(self, context: Context, earlier: Earlier, label: int, rows: Tensor, chosen: Tensor) -> Tensor:
        """Rows of the pool that no other segment begins with, in data set order; more where these are too few."""
        sizes = self.segments(context.ipc)
        order = context.streams("segments of rows", label).permutation(len(rows))
        start, stop = (len(rows) * sum(sizes[:end]) // sum(sizes) for end in (earlier.number, earlier.number + 1))
        mine = torch.isin(chosen, rows[order[start:stop]])
        own, others = chosen[mine], rows[order][torch.isin(rows[order], chosen[~mine])]
        return torch.cat([own, others[: max(0, earlier.decoded - len(own))]]).sort().values


def _figures(pools: list[Tensor], scores: Tensor | None, last: State) -> dict[str, Any]:
    """What a lesson tells of its pools, and of the last ones."""
    told: dict[str, Any] = {"pool": [len(rows) for rows in pools]}
    if scores is not None:
        told["difficulty"] = float(scores[torch.cat(pools)].mean())
        told["difficulty_of_all"] = float(scores.mean())
    if last:
        overlaps = [ops.overlap(mine, other) for mine, other in zip(pools, last["pools"], strict=True)]
        told["overlap"] = sum(overlaps) / len(overlaps)
    if scores is not None and "scores" in last:
        rows = torch.cat(last["pools"])
        told["last_pool_easier"] = ops.easier(last["scores"][rows], scores[rows])
        told["all_easier"] = ops.easier(last["scores"], scores)
    return told
