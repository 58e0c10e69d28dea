"""The official MTT, TESLA and AST: losses and gradients of one outer step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.batch import Block, Trajectory, View
from limbeck.core.contracts import Peers, Pull
from limbeck.core.execution import Execution
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.networks import build
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.ops import momentum
from limbeck.ops import trajectory as ops
from limbeck.parametrizations.plain import Plain
from tests.parity.vectors_dir import find

CLOSE: dict[str, float] = {"rtol": 1e-9, "atol": 1e-12}


def named(prefix: str) -> Any:
    files = find(prefix)
    return pytest.mark.parametrize("path", files, ids=[path.stem for path in files])


class Recorded:
    """A file of vectors, its network, and the objective's view of it."""

    def __init__(self, path: Path) -> None:
        self.arrays = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
        depth, width, channels, height, columns, classes = self["arch"].tolist()
        names = tuple(str(label) for label in range(classes))
        plain = Normalization((0.0,) * channels, (1.0,) * channels)
        self.spec = DataSpec("recorded", channels, height, columns, names, plain, "recorded")
        network = build(f"convnet{depth}:width={width}", self.spec)
        # The recorded runs are checked as they would be computed, whatever size of part that is.
        self.network = network.to(torch.device("cpu"), torch.float64, Execution(microbatch=3))
        self.shapes = {name: tensor.shape for name, tensor in network.module().named_parameters()}

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def weights(self, flat: Tensor) -> Weights:
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def flat(self, weights: Weights) -> Tensor:
        return torch.cat([weights[name].flatten() for name in self.shapes])

    def pull(self, objective: TrajectoryMatching, path: list[Tensor], start: int = 0, starts: int = 1) -> Pull:
        """What the objective says of the recorded images, which stand in one class so that their order stays."""
        labels = self["labels"] if self["labels"].ndim == 1 else torch.zeros(len(self["images"]), dtype=torch.int64)
        rows = [row[row >= 0] for row in self["batch_index"]]
        draws = {f"batch/{number}": some for number, some in enumerate(rows)} | {"seed": torch.tensor(0)}
        block = Block(
            labels=(0,),
            stored=self["images"].unsqueeze(0),
            targets=labels.unsqueeze(0),
            real=torch.zeros(1, 0),
            counts=(0,),
            draws=(draws,),
            memory={"offset": torch.zeros((), dtype=torch.float64), "velocity": torch.zeros((), dtype=torch.float64)},
        )
        weights = tuple(self.weights(flat) for flat in path)
        view = View(self.network, weights[0], trajectory=Trajectory(weights, start, starts))
        objective = replace(objective, student_steps=len(rows), student_lr=float(self["lr"]), rate="raw")
        return objective.pull(view, block, Peers(Plain(space="normalized"), None, self.spec))

    def student(self, momentum_of: float = 0.0, factor: float = 1.0, start: Tensor | None = None) -> list[Tensor]:
        """The student's parameters, by the plainest loop there is."""
        theta = (self["theta_start"] if start is None else start).clone()
        velocity, found = torch.zeros_like(theta), [theta]
        for row in self["batch_index"]:
            rows, leaf = row[row >= 0], theta.clone().requires_grad_()
            logits = self.network(self.weights(leaf), self["images"][rows])
            loss = torch.nn.functional.cross_entropy(logits, self["labels"][rows])
            velocity = momentum_of * velocity + factor * torch.autograd.grad(loss, leaf)[0]
            theta = theta - self["lr"] * velocity
            found.append(theta)
        return found


def agrees(found: Pull, loss: Tensor, images: Tensor, lr: Tensor) -> None:
    torch.testing.assert_close(found.losses.sum(), loss, **CLOSE)
    torch.testing.assert_close(found.gradients[0], images, **CLOSE)
    torch.testing.assert_close(found.learnt["student_lr"], lr, **CLOSE)


@named("mtt_")
@pytest.mark.parametrize("engine", ["adjoint", "unroll"])
def test_mtt(path: Path, engine: Any) -> None:
    given = Recorded(path)
    labels: Any = "expert" if given["labels"].ndim == 2 else "hard"
    objective = TrajectoryMatching(engine=engine, labels=labels)
    found = given.pull(objective, [given["theta_start"], given["theta_target"]])
    agrees(found, given["mtt_loss"], given["mtt_grad_images"], given["mtt_grad_lr"])
    # The first step of the outer optimizers.
    rate, images = float(given["lr_img"]), given["images"]
    after, _ = momentum.step(images, torch.zeros_like(images), found.gradients[0], rate, 0.5)
    torch.testing.assert_close(after, given["mtt_images_after_step"], **CLOSE)
    objective = replace(objective, student_lr=float(given["lr"]), lr_step=float(given["lr_lr"]), rate="raw")
    zero = torch.zeros((), dtype=torch.float64)
    state = objective.learn({"offset": zero, "velocity": zero}, None, None, found.learnt)  # type: ignore[arg-type]
    torch.testing.assert_close(objective.learnt(state)["student_lr"], given["mtt_lr_after_step"], **CLOSE)


@named("mtt_")
def test_tesla(path: Path) -> None:
    given = Recorded(path)
    labels: Any = "expert" if given["labels"].ndim == 2 else "hard"
    ends = [given["theta_start"], given["theta_target"]]
    found = given.pull(TrajectoryMatching(engine="tesla", labels=labels), ends)
    agrees(found, given["tesla_loss"], given["tesla_grad_images"], given["tesla_grad_lr"])
    found = given.pull(TrajectoryMatching(engine="tesla", labels=labels, tesla_scale=0.5), ends)
    agrees(found, given["tesla_loss"], given["tesla_code_grad_images"], given["tesla_grad_lr"])
    exact = len(given["batch_index"]) == 1
    assert torch.allclose(given["tesla_grad_images"], given["mtt_grad_images"], rtol=1e-6) == exact


@named("mtt_")
def test_the_students_parameters(path: Path) -> None:
    given = Recorded(path)
    if given["labels"].ndim == 2:
        pytest.skip("the plain loop knows hard labels only")
    found = given.student()
    torch.testing.assert_close(torch.stack(found), given["student_params"], **CLOSE)
    total = (found[0] - found[-1]) / given["lr"]
    torch.testing.assert_close(total, given["tesla_gradient_sum"], rtol=1e-9, atol=1e-10)


VARIANTS: dict[str, dict[str, Any]] = {
    "paper_equal": {"balance": True, "intermediate": "equal"},
    "paper_varied": {"balance": True, "intermediate": "varied"},
    "code_m09": {"balance": True, "intermediate": "equal", "points": "official", "student_momentum": 0.9},
    "code_m0": {"balance": True, "intermediate": "equal", "points": "official"},
    "code_m09_varied": {"balance": True, "intermediate": "varied", "points": "official", "student_momentum": 0.9},
    "mtt_base": {},
}


@named("ast_distill_")
@pytest.mark.parametrize("engine", ["adjoint", "unroll"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ast(path: Path, engine: Any, variant: str) -> None:
    given = Recorded(path)
    trajectory = list(given["trajectory"])
    if variant.startswith("paper"):
        trajectory[0] = given["paper_theta_perturbed"]
    elif variant.startswith("code"):
        trajectory[0] = given["code_m09_theta_perturbed"]
    objective = TrajectoryMatching(engine=engine, **VARIANTS[variant])
    starts = int(given["start_epoch"]), int(given["max_start_epoch"])
    found = given.pull(objective, trajectory, *starts)
    agrees(found, given[f"{variant}_loss"], given[f"{variant}_grad_images"], given[f"{variant}_grad_lr"])


@named("ast_distill_")
def test_the_terms_of_ast(path: Path) -> None:
    given = Recorded(path)
    steps, span = int(given["N"]), int(given["M"])
    assert ops.points(steps, span) == tuple(given["paper_equal_points"].tolist())
    assert ops.points(steps, span, "official") == tuple(given["code_m09_points"].tolist())
    factor = ops.balance(int(given["start_epoch"]), int(given["max_start_epoch"]))
    assert factor == pytest.approx(float(given["paper_nu"]), rel=1e-12)
    start, trajectory = given["paper_theta_perturbed"], given["trajectory"]
    found = given.student(factor=factor, start=start)
    torch.testing.assert_close(torch.stack(found), given["paper_equal_student_params"], **CLOSE)

    def relative(step: int, epoch: int) -> Tensor:
        target = [trajectory[epoch]]
        return ops.Comparison(step, target, 1 / ops.gap([start], target)).loss([found[step]])

    torch.testing.assert_close(relative(steps, span), given["paper_equal_final_loss"], **CLOSE)
    between = [relative(step, epoch) for epoch, step in enumerate(ops.points(steps, span), 1)]
    torch.testing.assert_close(torch.tensor(between, dtype=torch.float64), given["paper_equal_mid_losses"], **CLOSE)


@named("ast_distill_")
def test_the_perturbations_of_ast_runs(path: Path) -> None:
    given = Recorded(path)
    weights, noise = given.weights(given["trajectory"][0]), given.weights(given["d"])
    paper = ops.perturbed_filters(weights, noise, float(given["paper_alpha"]), linear=False)
    torch.testing.assert_close(given.flat(paper), given["paper_theta_perturbed"], **CLOSE)
    torch.testing.assert_close(
        given.flat(ops.perturbed_tensors(weights, noise, 1.0)), given["code_m09_theta_perturbed"], **CLOSE
    )


@named("ast_weight_perturb")
def test_perturbations(path: Path) -> None:
    given = Recorded(path)
    weights, noise, alpha = given.weights(given["theta"]), given.weights(given["d"]), float(given["alpha"])
    for linear, name in ((False, "paper_conv"), (True, "paper_conv_fc")):
        moved = ops.perturbed_filters(weights, noise, alpha, linear)
        torch.testing.assert_close(given.flat(moved), given[name], **CLOSE)
    torch.testing.assert_close(given.flat(ops.perturbed_tensors(weights, noise, 1.0)), given["code_alpha1"], **CLOSE)


@named("ast_nu")
def test_balance(path: Path) -> None:
    arrays = dict(np.load(path))
    for key in (key for key in arrays if key.startswith("start_T")):
        starts = int(key.removeprefix("start_T"))
        for base, name in ((5.0, "nu_log5"), (float(np.e), "nu_ln")):
            found = [ops.balance(start, starts, base) for start in arrays[key].tolist()]
            np.testing.assert_allclose(found, arrays[f"{name}_T{starts}"], rtol=1e-12)
