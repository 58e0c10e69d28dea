"""The loop of a run: for every outer iteration a network, for every inner step one round of matching."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers, State
from limbeck.core.errors import RunError
from limbeck.core.recipe import Recipe

__all__ = ["Loop", "LoopState"]


@dataclass
class LoopState:
    """All that a run remembers between two inner steps.

    Args:
        ordinal: inner steps done.
        stored: stored images ``[K, n, C, H, W]``.
        parts: the state of every part, by slot, and that of the objective's guard.
        drawn: outer iteration whose network the pool holds; -1 for none.
    """

    ordinal: int
    stored: Tensor
    parts: dict[str, State]
    drawn: int = -1

    def tree(self) -> dict[str, Any]:
        """As a tree that can be saved."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


class Loop:
    """One recipe on one data set, step by step. Knows contracts only, never a concrete part.

    Args:
        recipe: a checked recipe.
        context: the run.
        class_block: classes whose real batches are in memory at once.
    """

    def __init__(self, recipe: Recipe, context: Context, class_block: int = 10) -> None:
        self.recipe = recipe
        self.context = context
        focus = context.focus
        self._sampled = context if focus is None else dataclasses.replace(context, data=focus.sampled(context.data))
        self._class_block = class_block
        augmentation = recipe.augmentation and recipe.augmentation.bound(context.spec)
        self._peers = Peers(recipe.parametrization, augmentation, context.spec)
        ends = torch.tensor([0.0, 1.0], device=context.device, dtype=context.dtype)
        ends = ends.view(2, 1, 1, 1).expand(2, context.spec.channels, 1, 1)
        normalized = recipe.parametrization.space == "normalized"
        if normalized and context.spec.normalization.whitening is not None:
            # Black and white are no numbers per channel there; `Recipe.check` has refused who asks for them.
            ends = torch.tensor([-math.inf, math.inf], device=context.device, dtype=context.dtype)
            ends, normalized = ends.view(2, 1, 1, 1).expand(2, context.spec.channels, 1, 1), False
        self._taught: dict[tuple[tuple[int, ...], int], Tensor] = {}
        self._range = context.spec.normalization.apply(ends) if normalized else ends

    def length(self) -> int:
        """Inner steps of the whole run, or of its group; 0 without objective: the result is the initialization."""
        return self.recipe.curriculum.length() if self.recipe.objective and self.recipe.curriculum else 0

    def moment(self, ordinal: int) -> Moment:
        """The position of inner step number ``ordinal``; outer iterations are counted through all groups."""
        curriculum, group = self.recipe.curriculum, self.context.group
        assert curriculum is not None
        moment = curriculum.moment(ordinal)
        if group is None or group.number == 0:
            return moment
        each = curriculum.moment(curriculum.length() - 1).iteration + 1
        return dataclasses.replace(moment, iteration=moment.iteration + group.number * each)

    def start(self, pool: State | None = None) -> LoopState:
        """The state before the first step: initial images, and the pool with its first network.

        Args:
            pool: the state of the pool, where it is known already.
        """
        recipe, context = self.recipe, self.context
        parts = {
            slot: pool if slot == "pool" and pool is not None else part.init(context) for slot, part in recipe.parts()
        }
        view, drawn = None, -1
        if recipe.pool is not None:
            drawn = self.moment(0).iteration if self.length() else 0
            parts["pool"] = recipe.pool.draw(parts["pool"], context, drawn)
            view = recipe.pool.looks(parts["pool"], context)
        if recipe.objective is not None and (guard := recipe.objective.guards()) is not None:
            parts["guard"] = guard.init()
        images = self._initial(view)
        if recipe.parametrization.space == "normalized":
            images = context.spec.normalization.apply(images)
        return LoopState(0, images, parts, drawn)

    def _initial(self, view: View | None) -> Tensor:
        """Initial images of what is worked on, in [0, 1]."""
        context, initializer, group = self.context, self.recipe.initializer, self.context.group
        if context.focus is not None:
            context = dataclasses.replace(context, data=context.focus.begun_with(context.data))
        if group is None or initializer.by_group:
            return initializer.images(context, self.recipe.parametrization, view)
        every = initializer.images(dataclasses.replace(context, group=None), self.recipe.parametrization, view)
        return every[group.labels.start : group.labels.stop, group.images.start : group.images.stop].clone()

    def step(self, state: LoopState) -> tuple[LoopState, Tensor]:
        """One inner step; the state before it is not to be used again.

        Returns:
            The state after it, and the matching loss of each class ``[K]``.
        """
        recipe, context, parts = self.recipe, self.context, dict(state.parts)
        objective, pool, optimizer = recipe.objective, recipe.pool, recipe.optimizer
        if not (objective and pool and optimizer and recipe.curriculum):
            raise RunError(f"recipe '{recipe.name}' has no steps to take")
        moment = self.moment(state.ordinal)
        stored, drawn = state.stored, state.drawn
        if moment.step == 0:
            low, high = self._range
            parts["optimizer"], stored = optimizer.open_iteration(
                parts["optimizer"], stored, low, high, moment.iteration
            )
            if drawn != moment.iteration:
                parts["pool"], drawn = pool.draw(parts["pool"], context, moment.iteration), moment.iteration
        view = pool.view(parts["pool"], context)
        if recipe.sampler is not None:
            parts["sampler"] = recipe.sampler.refresh(parts["sampler"], self._sampled, moment, view)
        at_turn = optimizer.at_turn(parts["optimizer"], stored, context)
        blocks = self._class_blocks(objective.joins_classes(view.network))
        if moment.step == 0:
            parts["pool"] = pool.prepare(
                parts["pool"], context, moment, lambda: self._shown(blocks, at_turn, parts, moment)
            )
            view = pool.view(parts["pool"], context)
        pulls = [objective.pull(view, self._block(labels, at_turn, parts, moment), self._peers) for labels in blocks]
        losses, gradients = torch.cat([pull.losses for pull in pulls]), torch.cat([pull.gradients for pull in pulls])
        learnt = {name: tensor for pull in pulls for name, tensor in pull.learnt.items()}
        guard = objective.guards()
        if guard is not None:
            if guard.keeps(parts["guard"]):
                copy = {"stored": stored, **{slot: parts[slot] for slot in ("optimizer", "objective")}}
                parts["guard"] = guard.kept(parts["guard"], _cloned(copy))
            if not guard.accepts(losses, (gradients, *learnt.values())):
                parts["guard"], back = guard.skipped(parts["guard"])
                if back is not None:
                    back = _cloned(back)
                    stored = back["stored"]
                    parts |= {slot: back[slot] for slot in ("optimizer", "objective")}
                parts["pool"] = pool.advance(parts["pool"], context, moment, lambda: self.decoded(stored))
                return LoopState(state.ordinal + 1, stored, parts, drawn), losses[:0]
            gradients, parts["guard"] = guard.scaled(parts["guard"], gradients), guard.took(parts["guard"])
        parts["optimizer"], stored = optimizer.update(parts["optimizer"], stored, gradients, context, moment)
        after = stored
        if learnt:
            parts["objective"] = objective.learn(parts["objective"], context, moment, learnt)
        parts["objective"] = objective.advance(parts["objective"], context, moment, view, after, self._peers)
        parts["pool"] = pool.advance(parts["pool"], context, moment, lambda: self.decoded(after))
        left = moment.steps - 1 - moment.step if pool.finished(parts["pool"], context) else 0
        return LoopState(state.ordinal + 1 + left, stored, parts, drawn), losses

    def result(self, state: LoopState) -> tuple[Tensor, dict[str, Tensor]]:
        """Stored images ``[K, n, C, H, W]`` of the finished set, and what was learnt beside them, on the CPU."""
        recipe, stored = self.recipe, state.stored.detach()
        if recipe.optimizer is not None:
            stored = recipe.optimizer.result(state.parts["optimizer"], stored)
        learnt = {} if recipe.objective is None else dict(recipe.objective.learnt(state.parts["objective"]))
        if recipe.pool is not None:
            images, _ = self.decoded(stored)
            labels = recipe.labeler.soft(recipe.pool.judges(state.parts["pool"], self.context), images)
            if labels is not None:
                learnt["labels"] = labels.view(len(stored), -1, labels.shape[-1])
        return stored.cpu().float(), {name: tensor.detach().cpu() for name, tensor in learnt.items()}

    def figures(self, state: LoopState) -> dict[str, float]:
        """Numbers that the log shows beside the loss: what is learnt and is one number, and steps not taken."""
        objective = self.recipe.objective
        learnt = {} if objective is None else objective.learnt(state.parts["objective"])
        found = {name: float(tensor) for name, tensor in learnt.items() if tensor.ndim == 0}
        skipped = state.parts["guard"]["skipped"] if "guard" in state.parts else 0
        return {**found, "skipped": float(skipped)} if skipped else found

    def view(self, state: LoopState) -> View | None:
        """The network that the pool holds now."""
        return self.recipe.pool.view(state.parts["pool"], self.context) if self.recipe.pool else None

    def sampled(self, state: LoopState, ordinal: int, label: int) -> Tensor:
        """Rows of the real batch of a class in inner step number ``ordinal``, the last one taken; int64 ``[B]``."""
        return self._rows(state.parts["sampler"], self.moment(ordinal), label)

    def _class_blocks(self, joined: bool) -> list[tuple[int, ...]]:
        labels = self.context.labels
        size = len(labels) if joined else self._class_block
        return [tuple(labels[first : first + size]) for first in range(0, len(labels), size)]

    def _targets(self, labels: tuple[int, ...], decoded: int) -> Tensor:
        """Targets of the decoded images of some classes, ``[K, decoded]``; the same at every step."""
        key = (labels, decoded)
        if key not in self._taught:
            targets = [self.recipe.labeler.targets(label, decoded) for label in labels]
            self._taught[key] = torch.stack(targets).to(self.context.device)
        return self._taught[key]

    def _shown(
        self, blocks: list[tuple[int, ...]], stored: Tensor, parts: dict[str, State], moment: Moment
    ) -> tuple[Tensor, Tensor]:
        """What the objective shows to the network of all classes, and their targets."""
        objective = self.recipe.objective
        assert objective is not None
        shown = [objective.shown(self._block(labels, stored, parts, moment), self._peers) for labels in blocks]
        return torch.cat([images for images, _ in shown]), torch.cat([targets for _, targets in shown])

    def _block(self, labels: tuple[int, ...], stored: Tensor, parts: dict[str, State], moment: Moment) -> Block:
        """What the classes of a block show in this step, with all randomness drawn."""
        recipe, context = self.recipe, self.context
        assert recipe.objective is not None
        first = labels[0] - context.labels.start
        if recipe.sampler is not None:
            rows = [self._rows(parts["sampler"], moment, label) for label in labels]
        else:
            rows = [torch.zeros(0, dtype=torch.int64) for _ in labels]
        counts = tuple(len(some) for some in rows)
        # Padding repeats row 0: any image will do, it is cut off again before anybody looks.
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        drawn = recipe.objective.draws(context, moment, labels, self._peers)
        chosen = [subset for _, subset in drawn if subset is not None]
        decoded = recipe.parametrization.parts(len(context.positions))
        beside = self._beside(labels, decoded, moment)
        shown = decoded if beside is None else decoded + beside.shape[1]
        return Block(
            labels=labels,
            stored=stored[first : first + len(labels)],
            targets=self._targets(labels, shown),
            real=context.data.images(padded),
            counts=counts,
            draws=tuple(draws for draws, _ in drawn),
            chosen=torch.stack(chosen).to(context.device) if chosen else None,
            memory=parts["objective"],
            beside=beside,
        )

    def _beside(self, labels: tuple[int, ...], decoded: int, moment: Moment) -> Tensor | None:
        """Finished images that are shown beside those of a block, as many as there is room for."""
        objective, company, streams = self.recipe.objective, self.context.company, self.context.streams
        if objective is None or company is None:
            return None
        room = objective.room(decoded)
        count = company.images.shape[1] if room is None else room
        where = (moment.iteration, moment.step)
        return torch.stack([company.some(label, count, streams("company", *where, label)) for label in labels])

    def _rows(self, state: State, moment: Moment, label: int) -> Tensor:
        """The real batch of a class: what the sampler chooses of what it is shown, mixed with the rest."""
        sampler, focus = self.recipe.sampler, self.context.focus
        assert sampler is not None
        rows = sampler.rows(state, self._sampled, moment, label)
        if focus is None:
            return rows
        return focus.mixed(rows, label, self.context.streams("mixing", moment.ordinal, label))

    def decoded(self, stored: Tensor) -> tuple[Tensor, Tensor]:
        """All decoded images in normalized space, and their targets."""
        parametrization, labeler = self.recipe.parametrization, self.recipe.labeler
        images = [parametrization.decode(some) for some in stored.detach()]
        targets = [labeler.targets(label, len(some)) for label, some in zip(self.context.labels, images, strict=True)]
        every = self._peers.normalize(torch.cat(images), parametrization.space)
        return every, torch.cat(targets).to(stored.device)


def _cloned(tree: Any) -> Any:
    """A tree with copies of its tensors."""
    if isinstance(tree, dict):
        return {name: _cloned(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [_cloned(child) for child in tree]
    return tree.clone() if isinstance(tree, Tensor) else tree
