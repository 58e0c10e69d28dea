"""Class-incremental learning with a memory of distilled sets, as DM's paper does it after GDumb.

Classes come in steps. Of each step's classes a set is distilled while their real images are there, and kept. After
each step new networks are trained from scratch on everything that was kept and judged on all classes seen so far.
Sources: Zhao and Bilen, Dataset Condensation with Distribution Matching, WACV 2023, section 4.4; Prabhu et al., GDumb,
ECCV 2020; the appendix of DWA (Du et al., NeurIPS 2024) and DREAM use it likewise.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.continual.merging import merged
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.of_classes import of_classes
from limbeck.engine.distill import check_storage, distill, make_context
from limbeck.engine.folder import RECORD
from limbeck.engine.progress import progress
from limbeck.engine.settings import Settings
from limbeck.evaluation.evaluate import check, evaluate_real
from limbeck.evaluation.protocol import Protocol
from limbeck.reports.continual import LearningCurve, Stage, Stages
from limbeck.reports.judging import judge
from limbeck.reports.runs import evaluation_file, read_json, scores_as_plain
from limbeck.storage.atomic import write_text

__all__ = ["RESULT", "class_order", "cut", "learn_continually"]

RESULT = "continual.json"


def class_order(classes: int, order: int) -> tuple[int, ...]:
    """The classes in the random order of this number.

    Args:
        classes: how many there are.
        order: number of the order, which is its seed.
    """
    return tuple(int(number) for number in Streams(order)("order of classes").permutation(classes))


def cut(classes: Sequence[int], steps: int) -> list[tuple[int, ...]]:
    """Classes in their order, cut into steps whose sizes differ by at most one, the larger ones first.

    Args:
        classes: in the order in which they come.
        steps: how many steps.

    Raises:
        InputError: a step would have fewer than two classes, so that there was nothing to learn.
    """
    if steps < 1 or 2 * steps > len(classes):
        raise InputError(
            f"{len(classes)} classes cannot come in {steps} steps of two or more; choose 1 to {len(classes) // 2} "
            "(--steps)."
        )
    size, larger = divmod(len(classes), steps)
    ends = [0]
    for step in range(steps):
        ends.append(ends[-1] + size + (step < larger))
    return [tuple(classes[start:end]) for start, end in itertools.pairwise(ends)]


def learn_continually(
    recipes: Mapping[str, Recipe],
    data: Data,
    *,
    steps: int,
    ipc: int,
    orders: Sequence[int],
    protocol: Protocol,
    out: Path,
    full: bool = False,
    settings: Settings | None = None,
    executor: Executor | None = None,
) -> Stages:
    """Distil step by step with every recipe, judge after every step, and write what came out.

    Whatever is in ``out`` already is not done again. Every step's set is a run of its own, on its classes alone:
    nothing of a step sees images of another, earlier or later. Sets are stored with 8 bits per value.

    Args:
        recipes: by the name under which they appear.
        data: the data set; its test part judges.
        steps: in how many steps the classes come.
        ipc: stored images per class.
        orders: random orders of the classes, by number; each is also the seed of its runs and networks.
        protocol: how networks are trained on what is kept; taught by the labels of the sets.
        out: folder for one run folder per method, order and step, and for ``continual.json``.
        full: also train on all real images of the classes seen, which is a bound.
        settings: device and progress.
        executor: where independent tasks run.

    Raises:
        InputError: classes cannot come in so many steps, a recipe cannot run on such a step, or the protocol cannot
            judge it; nothing has been started then.
    """
    settings = settings or Settings()
    if not recipes or not orders or len(set(orders)) < len(orders):
        raise InputError("continual learning needs at least one method and order, each named once.")
    data.require_test()
    protocol = protocol.hard()
    arrivals = {order: cut(class_order(data.spec.classes, order), steps) for order in orders}
    # In the smallest step everything is to be possible, and networks end with all classes.
    last = of_classes(data, arrivals[orders[0]][-1])
    check(protocol, data.spec)
    for recipe in recipes.values():
        make_context(recipe, last, ipc, orders[0], settings)
        check_storage(recipe, "uint8")
    study = _Study(data, ipc, protocol, out, replace(settings, progress="quiet"), executor)
    curves = []
    with progress(settings.progress) as display:
        names = [*recipes, *(["full"] if full else [])]
        display.start("learning continually", len(names) * len(orders) * steps)
        done = 0
        for name in names:
            reached: list[list[_Reached]] = [[] for _ in range(steps)]
            for order, arrival in arrivals.items():
                kept: list[Distilled] = []
                for step in range(steps):
                    display.say(f"{name}, order {order}, step {step + 1} of {steps}")
                    reached[step].append(study.step(name, recipes.get(name), order, arrival[: step + 1], kept))
                    done += 1
                    display.advance(done)
            curves.append(LearningCurve(name, tuple(map(_stage, reached))))
    found = Stages(
        data.spec.name,
        protocol,
        ipc,
        tuple(
            tuple(tuple(data.spec.class_names[number] for number in step) for step in arrival)
            for arrival in arrivals.values()
        ),
        tuple(curves),
    )
    write_text(out / RESULT, json.dumps(found.as_plain(), indent=2) + "\n")
    return found


@dataclass(frozen=True)
class _Reached:
    """What came out after one step of one order."""

    classes: int
    accuracies: tuple[float, ...]
    bytes: int
    seconds: float


@dataclass(frozen=True)
class _Study:
    """What all steps have in common."""

    data: Data
    ipc: int
    protocol: Protocol
    out: Path
    settings: Settings
    executor: Executor | None

    def step(
        self, name: str, recipe: Recipe | None, order: int, arrived: Sequence[tuple[int, ...]], kept: list[Distilled]
    ) -> _Reached:
        """Distil the newest classes, add them to what is ``kept``, and judge it; without a recipe all real images."""
        seen = of_classes(self.data, [number for step in arrived for number in step])
        folder = self.out / f"{name}-ipc{self.ipc}-order{order}"
        judged = folder / f"after-{len(arrived)}"
        if recipe is None:
            return self._real(seen, judged.with_name(f"real-{len(arrived)}"), order)
        newest = folder / f"step-{len(arrived)}"
        kept.append(
            distill(
                recipe,
                of_classes(self.data, arrived[-1]),
                ipc=self.ipc,
                seed=order,
                out=newest,
                storage="uint8",
                settings=self.settings,
                executor=self.executor,
            )
        )
        memory = merged(kept, seen.spec)
        path = judge(
            judged,
            memory,
            seen,
            self.protocol,
            seed=order,
            device=self.settings.torch_device(),
            execution=replace(self.settings, precision="float32"),
            executor=self.executor,
        )
        return _read(path, seen, float(read_json(newest / RECORD)["seconds"]))

    def _real(self, seen: Data, folder: Path, order: int) -> _Reached:
        """All real images of the classes seen."""
        path = folder / evaluation_file(self.protocol, order, seen.spec.digest)
        if not path.is_file():
            scores = evaluate_real(
                seen.train,
                seen.require_test(),
                self.protocol,
                seed=order,
                validation=seen.validation,
                device=self.settings.torch_device(),
                execution=replace(self.settings, precision="float32"),
                executor=self.executor,
            )
            size = len(seen.train) * seen.spec.channels * seen.spec.height * seen.spec.width
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(scores_as_plain(scores, size), indent=2) + "\n")
        return _read(path, seen, 0.0)


def _read(path: Path, seen: Data, seconds: float) -> _Reached:
    scores = read_json(path)
    accuracies = tuple(value for network in scores["networks"] for value in network["accuracies"])
    return _Reached(seen.spec.classes, accuracies, scores["bytes"] + scores["bytes_labels"], seconds)


def _stage(reached: Sequence[_Reached]) -> Stage:
    """One step over all orders, in which equally many classes have come."""
    return Stage(
        classes=reached[0].classes,
        accuracies=tuple(one.accuracies for one in reached),
        bytes=reached[0].bytes,
        seconds=statistics.fmean(one.seconds for one in reached),
    )
