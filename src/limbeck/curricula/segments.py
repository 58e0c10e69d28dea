"""Segments from easy to hard: each learns what those before do not know yet (DASM)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group, Pieces
from limbeck.core.contracts import Curriculum, Earlier, State, Workload
from limbeck.core.errors import InputError
from limbeck.core.focus import Company, Focus, Taught
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.curricula.segment_experts import SegmentExperts
from limbeck.ops import difficulty as ops
from limbeck.training.pretraining import pretrained
from limbeck.training.scoring import CHECKPOINTS, Judgement, difficulty, forgotten, scorers
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
    added: ClassVar[Mapping[str, Any]] = {
        "count": 0,
        "front_loaded": False,
        "budget": "shared",
        "score": "loss",
        "window_rule": "linear",
        "scope": "segment",
        "net_data": "all",
        "rescore_every": 0,
        "verify": False,
        "experts": SegmentExperts(),
    }

    iterations: int = 2000
    """Outer iterations of all segments together (see ``budget``)."""
    steps: int = 100
    """Inner steps of each."""
    sizes: tuple[int, ...] = ()
    """Stored images of each segment; () follows ``count`` and ``front_loaded``."""
    count: int = 0
    """Segments, where ``sizes`` does not say; 0 takes 1, 2, 3, 5, 10 from 1, 10, 20, 50, 200 images per class on."""
    front_loaded: bool = False
    """Whether the first segment has about twice the images of each other (2 : 1 : 1 ...), or all have the same."""
    budget: Literal["shared", "each"] = "shared"
    """Whether segments share ``iterations`` by their images, or each has as many."""
    least: int = 200
    """Outer iterations of a segment at least; more than its share where that is smaller, so that a run is longer."""
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
    scoring: Literal["previous", "real", "random"] = "previous"
    """Who says how hard images are: networks trained on the segments before, or on the real images (the same ranks for
    all segments), or chance (likewise)."""
    score: ops.Score = "loss"
    """What they call hard: a large cross-entropy, a large error of the probabilities (el2n), a small margin between the
    label and the next class, disagreement among them, or that training on the real images forgets it often, for which
    ``scoring`` is ``real``."""
    window_rule: Literal["linear", "frontier"] = "linear"
    """Whether windows move by the number of the segment, or lie around the share of the class that the networks
    classify rightly, class by class."""
    rescore_every: int = 0
    """Outer iterations of a segment after which networks are trained anew, on what it has become as well, and say anew
    how hard images are; 0 for never."""
    real_epochs: int = 5
    """Epochs of networks that are trained on the real images, where these are asked."""
    previous: float = 0.5
    """Probability that an outer iteration begins with a network trained on the segments before, not with a fresh
    one."""
    verify: bool = False
    """Whether networks are trained on the whole set in the end, for the record to tell if the last pool became easier,
    as the networks of the next segment tell of all others."""
    scope: Literal["segment", "union"] = "segment"
    """What is compared with real images: those of the segment, or together with them images of those before, a random
    part of them where the objective limits how many it shows. Only the segment learns; step sizes that grow with the
    images per class count all of them."""
    net_data: Literal["all", "pool", "previous+pool"] = "all"
    """What the pool's networks are trained on between matchings: all real images, those of the window, or these and
    the images of the segments before; not in the first segment."""
    first: Literal["all", "easy"] = "all"
    """Real images of the first segment: all, or the easiest as networks see them that were trained on real images."""

    experts: SegmentExperts = field(default_factory=SegmentExperts)
    """Which experts segments imitate, where the pool has some."""

    def needs(self) -> frozenset[str]:
        """Real batches or experts, of segments, networks that look, and what options change of other parts."""
        needed = {"real batches" if self.experts.mode == "none" else "expert trajectories", "networks"}
        if self.scope == "union":
            needed.add("unions of segments")
        if self.net_data != "all":
            needed.add("networks trained on chosen images")
        return frozenset(needed)

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
        if self.batches < 0 or self.rescore_every < 0:
            raise InputError(
                f"{where} needs batches >= 0 and rescore_every >= 0, not {self.batches} and {self.rescore_every}."
            )
        if not 0 <= self.count <= context.ipc or (self.sizes and (self.count or self.front_loaded)):
            raise InputError(
                f"{where} needs a count from 0 to the {context.ipc} images per class, and with sizes neither count nor "
                f"front_loaded; not {self.count} with sizes {self.sizes} and front_loaded {self.front_loaded}."
            )
        if not (0 < self.width <= 1 and 0 <= self.outliers < 1 and 0 <= self.mixing <= 1 and 0 <= self.previous <= 1):
            raise InputError(
                f"{where} needs 0 < width <= 1, 0 <= outliers < 1 and mixing and previous in [0, 1], not "
                f"{self.width}, {self.outliers}, {self.mixing} and {self.previous}."
            )
        self._check_options(context, where)
        self.training.check(where)
        self.experts.check(where)
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def _check_options(self, context: Context, where: str) -> None:
        """Refuse what would have no effect or no meaning beside other options."""
        static, sizes = self.scoring != "previous", self.segments(context.ipc)
        longest = max((self.of_segment(context.ipc, number).iterations for number in range(1, len(sizes))), default=0)
        refused = [
            (
                self.experts.mode == "own" and self.rescore_every > 0 and bool(sizes),
                "experts of a segment are trained once, before it; use rescore_every 0, or existing experts",
            ),
            (
                self.window_rule == "frontier" and (static or self.order != "easy_to_hard"),
                "window_rule 'frontier' follows networks that learn more from segment to segment, and leaves no choice "
                "of an order; use scoring 'previous' and order 'easy_to_hard' with it",
            ),
            (
                self.score == "disagreement" and self.scorers < 2,
                "one network disagrees with nobody; use scorers of 2 or more with score 'disagreement'",
            ),
            (
                self.score == "forgetting" and (self.scoring != "real" or self.real_epochs < 2),
                "score 'forgetting' counts what networks forget from epoch to epoch while they are trained on the real "
                "images; use scoring 'real' and real_epochs of 2 or more with it",
            ),
            (
                self.score != "loss" and self.scoring == "random",
                f"scoring 'random' asks nobody, so that score '{self.score}' would have no effect; leave it out",
            ),
            (
                self.rescore_every > 0 and self.previous == 0 and (static or self.order == "all_all"),
                "networks that neither say how hard images are nor begin matching need not be trained anew; use "
                "rescore_every 0",
            ),
            (
                self.rescore_every > 0 and bool(sizes) and self.rescore_every >= longest,
                f"no segment after the first is longer than {longest} outer iterations, so that rescore_every "
                f"{self.rescore_every} would never happen; use fewer or 0",
            ),
        ]
        for wrong, sentence in refused:
            if wrong:
                raise InputError(f"{where}: {sentence}.")

    def passes(self, context: Context, load: Workload) -> float:
        """Training of the scorers before each segment but the first, and on its way, and their look at real images."""
        sizes = self.segments(context.ipc)
        if not sizes:
            return 0.0
        each = context.spec.classes * load.decoded / (sum(sizes) if self.scope == "union" else sizes[0])
        seen = looks = 0
        for number in range(1, len(sizes)):
            seen, looks = seen + sum(sizes[:number]), looks + 1
            if self.rescore_every:
                anew = (self.of_segment(context.ipc, number).iterations - 1) // self.rescore_every
                seen, looks = seen + anew * sum(sizes[: number + 1]), looks + anew
        scored = self.scorers * (3.0 * self.scorer_epochs * each * seen + looks * len(context.data))
        shown = self.width / max(1 - self.mixing, self.width) * len(context.data)
        return scored + (len(sizes) - 1) * self.experts.passes(shown)

    def copies(self, ipc: int) -> int:
        """The bank: all checkpoints of all scorers."""
        asked = self.scoring == "previous" or self.previous > 0
        return self.scorers * len(CHECKPOINTS) if asked and self.segments(ipc) else 0

    def length(self) -> int:
        """``iterations * steps``, where all is learnt together."""
        return self.iterations * self.steps

    def moment(self, ordinal: int) -> Moment:
        """Iterations one after another."""
        return AllAtOnce(iterations=self.iterations, steps=self.steps).moment(ordinal)

    def segments(self, ipc: int) -> tuple[int, ...]:
        """``sizes``, or what ``count`` and ``front_loaded`` make; none where there would be one."""
        sizes = self.sizes or ops.segment_sizes(ipc, self.count, self.front_loaded)
        return sizes if len(sizes) > 1 else ()

    def groups(self, context: Context) -> tuple[Group, ...]:
        """A group of all classes for each segment."""
        groups, start = [], 0
        for number, size in enumerate(self.segments(context.ipc)):
            groups.append(Group(number, range(context.spec.classes), range(start, start + size)))
            start += size
        return tuple(groups)

    def of_segment(self, ipc: int, number: int) -> AllAtOnce:
        """All of its images at once, for its share of the iterations."""
        shares = ops.shares(self.iterations, self.segments(ipc), self.least)
        iterations = max(self.least, self.iterations) if self.budget == "each" else shares[number]
        return AllAtOnce(iterations=iterations, steps=self.steps)

    def pieces(self, ipc: int, number: int) -> Pieces | None:
        """As ``experts`` says."""
        return self.experts.pieces(number, len(self.segments(ipc)))

    def renewed(self, number: int) -> int:
        """``rescore_every``, but for the first segment, which nobody scores."""
        return self.rescore_every if number else 0

    def lesson(self, context: Context, earlier: Earlier) -> State:
        """Scorers, what they say, and which real images follow from that for each class."""
        bank = self._bank(context, earlier)
        said = self._judged(context, earlier, bank)
        members = [context.data.class_rows(label) for label in range(context.spec.classes)]
        windows = [self._window(context, earlier, rows, said) for rows in members]
        pools, rests = [], []
        for label, (rows, window) in enumerate(zip(members, windows, strict=True)):
            ranks = said.difficulty[rows] if said is not None else torch.zeros(len(rows))
            least = max(self.batches * earlier.real, round(_LEAST_SHARE * len(rows)))
            at_random = context.streams("ranks", label).permutation(len(rows)) if self.order == "random_parts" else None
            pool, rest = ops.chosen(rows, ranks, window, self.outliers, least, at_random)
            pools.append(pool)
            rests.append(rest)
        sizes = self.segments(context.ipc)
        orders = [
            context.streams("segments of rows", label).permutation(len(rows)) for label, rows in enumerate(members)
        ]
        initial = [
            ops.starts(rows, pool, order, sizes, earlier.number, earlier.decoded)
            for rows, pool, order in zip(members, pools, orders, strict=True)
        ]
        told: dict[str, Any] = {"window": list(windows[0])}
        if self.window_rule == "frontier" and earlier.number:
            told["window"] = [fmean(ends) for ends in zip(*windows, strict=True)]
            told["windows"] = [list(window) for window in windows]
        scores, last = None if said is None else said.difficulty, earlier.lesson
        told |= ops.figures(pools, scores, last.get("pools"), last.get("scores") if self._again(earlier) else None)
        if earlier.iteration:
            before = earlier.lesson["told"]
            told = {**before, "rescored": [*before.get("rescored", []), {"iteration": earlier.iteration, **told}]}
        else:
            told = {"images": sizes[earlier.number], **told}
        lesson = {"pools": pools, "rests": rests, "initial": initial, "bank": bank, "told": told}
        return lesson if scores is None else {**lesson, "scores": scores}

    def focus(self, context: Context, lesson: State, earlier: Earlier) -> Context:
        """Real batches from the pools, initial images from rows of their own, matching from the bank."""
        pools, rests, initial = (tuple(lesson[name]) for name in ("pools", "rests", "initial"))
        device = context.device
        bank = tuple({name: tensor.to(device) for name, tensor in weights.items()} for weights in lesson["bank"])
        context = replace(context, focus=Focus(pools, rests, initial, self.mixing), bank=bank, recall=self.previous)
        if not earlier.number:
            return context
        if self.scope == "union":
            decoded = earlier.images.unflatten(0, (context.spec.classes, -1))
            context = replace(context, company=Company(decoded, earlier.stored.shape[1]))
        if self.net_data != "all":
            known = len(earlier.targets) if self.net_data == "previous+pool" else 0
            taught = Taught(torch.cat(pools).sort().values, earlier.images[:known], earlier.targets[:known])
            context = replace(context, taught=taught)
        return context

    def remembered(self, lesson: State) -> State:
        """What the next segment is compared with."""
        return {name: lesson[name] for name in ("pools", "told", "scores") if name in lesson}

    def concluded(self, context: Context, earlier: Earlier, remembered: State) -> State:
        """With ``verify`` the last pools and their scores as networks see them that were trained on the whole set."""
        last = earlier.number == len(self.segments(context.ipc)) - 1
        if not self.verify or not last or "scores" not in remembered or not self._again(earlier):
            return remembered
        said, pools = self._judged(context, earlier, self._bank(context, earlier)), remembered["pools"]
        assert said is not None
        told = ops.figures(pools, said.difficulty, pools, remembered["scores"])
        return {**remembered, "told": {**remembered["told"], **_easier(told)}}

    def record(self, remembered: Sequence[State]) -> dict[str, Any]:
        """Of each segment its window, the sizes of its pools, how hard these are, and how they go with the last ones.

        ``difficulty`` is the mean over the pools, ``difficulty_of_all`` that over all images, by the same networks:
        those of other segments are others, and know more. ``overlap`` is the intersection of a pool and the last one by
        their union, the mean over classes. ``pool_easier`` is the share of the pool's images that are easier, once the
        segment is learnt, than their median was before it was, ``all_easier`` the same of all images. Lessons that a
        segment had on its way are listed under ``rescored``, with what had become of the pools before each.
        """
        told = [{**lesson["told"]} for lesson in remembered]
        for entry, after in itertools.pairwise(told):
            entry |= _easier(after)
        for entry in told:
            for name in ("last_pool_easier", "last_all_easier"):
                entry.pop(name, None)
        return {"segments": told}

    def _again(self, earlier: Earlier) -> bool:
        """Whether the scores of the lesson before are those of networks of the same kind, which knew less."""
        return self.scoring == "previous" and (earlier.number > 1 or earlier.iteration > 0)

    def _window(self, context: Context, earlier: Earlier, rows: Tensor, said: Judgement | None) -> tuple[float, float]:
        """Ranks of a class that a segment is learnt on."""
        number, count = earlier.number, len(self.segments(context.ipc))
        if number == 0:
            return (0.0, 1.0) if self.first == "all" else (0.0, min(self.width, 1 - self.outliers))
        if self.window_rule == "frontier" and said is not None and said.right is not None:
            return ops.frontier(float(said.right[rows].mean()), self.width, self.outliers)
        return ops.window(number, count, self.width, self.outliers, self.order)

    def _bank(self, context: Context, earlier: Earlier) -> list[Weights]:
        """Networks trained on what there is, one by one at all their checkpoints; none for the first segment."""
        number, iteration = earlier.number, earlier.iteration
        if number == 0 or (self.previous == 0 and self.scoring != "previous"):
            return []
        context.say(f"training {self.scorers} networks on {number + (iteration > 0)} segments")
        key = (number, iteration) if iteration else (number,)
        own = replace(context, streams=Streams(context.streams("scorers", *key).seed))
        images, targets = earlier.images, earlier.targets
        found = scorers(own, earlier.network, images, targets, self.training, self.scorer_epochs, self.scorers)
        return [weights for network in found for weights in network]

    def _judged(self, context: Context, earlier: Earlier, bank: list[Weights]) -> Judgement | None:
        """How hard each real image is; None where nobody is asked."""
        network = earlier.network
        if earlier.number == 0 and self.first == "all":
            return None
        if earlier.number and self.scoring == "previous":
            return difficulty(context, network, bank[len(CHECKPOINTS) - 1 :: len(CHECKPOINTS)], self.score)
        if self.scoring == "random":
            return Judgement(context.streams("random difficulty").uniform(len(context.data)))
        if self.scoring == "real" and "scores" in earlier.lesson:
            return Judgement(earlier.lesson["scores"])
        if self.score == "forgetting":
            single = replace(self.training, cutmix=0.0, mixup=0.0)
            return forgotten(context, network, single, self.real_epochs, self.scorers)
        judges = []
        for weights in pretrained(context, network.name, self.training, self.real_epochs, self.scorers):
            judges.append(weights)
            context.pause()
        return difficulty(context, network, judges, self.score)


def _easier(after: Mapping[str, Any]) -> dict[str, Any]:
    """What later figures say of the pools before."""
    names = ("pool_easier", "all_easier")
    return {name: after[f"last_{name}"] for name in names if f"last_{name}" in after}
