"""AST: smooth experts, a balanced student, comparisons on the way, a perturbed start (Shen et al., 2023).

The paper's algorithm, line by line; the rest is MTT's:

| line | here |
| --- | --- |
| experts: momentum SGD on lambda_e CE + mu (slope - 1)^2 (Eq. 1), then halved | `ExpertTraining.clip`, ``penalty`` |
| S starts as representative images | `Clustered.clusters` |
| theta*_t <- theta*_t + alpha d, filter by filter (Eq. 5) | `TrajectoryMatching.perturb` |
| N steps on nu CE (Eq. 2, 3) | `TrajectoryMatching.balance` |
| at step xi_i: the distance from theta*_{t+i} (Eq. 4), and that from theta*_{t+M} at the end | ``intermediate`` |
| update S and beta by the sum | `SGD`, `TrajectoryMatching.learn` |

Paper and code differ in almost every part (docs/methods/ast.md lists them): presets follow the paper, and those
ending in ``-official`` the code. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.core.recipe import Recipe
from limbeck.initializers.clustered import Clustered
from limbeck.methods import mtt as _mtt
from limbeck.methods.mtt import Setting
from limbeck.pools.experts import Experts
from limbeck.training.clustering import Clustering
from limbeck.training.expert_training import ExpertTraining

__all__ = ["PRESETS", "ast"]

_TABLE: dict[str, dict[int, Setting]] = {
    "cifar10": {
        1: Setting(True, 50, 2, 2, 0, 100.0, 1e-7),
        10: Setting(True, 30, 2, 20, 0, 100.0, 1e-6),
        50: Setting(True, 30, 2, 40, 0, 1000.0, 1e-5),
    },
    "cifar100": {
        1: Setting(False, 40, 3, 15, 0, 100.0, 1e-5),
        10: Setting(False, 20, 2, 30, 128, 1000.0, 1e-5),
        50: Setting(False, 80, 2, 40, 700, 1000.0, 1e-5),
    },
    "tiny-imagenet": {
        1: Setting(False, 10, 2, 10, 0, 1e4, 1e-4),
        10: Setting(False, 20, 2, 40, 500, 1e4, 1e-4),
    },
    "imagenet10": {
        1: Setting(False, 20, 2, 10, 0, 1e5, 1e-6),
        10: Setting(False, 20, 2, 10, 20, 1e5, 1e-6),
    },
}
"""The authors' scripts, and FTD's and MTT's settings where these have none."""
_EXPERTS = {"small": 2, "digits": 8}
"""The penalty makes an expert three times as expensive."""
_CHOICES = (*_TABLE, *_mtt.OURS)

PRESETS = (*_CHOICES, *(f"{name}-official" for name in _CHOICES))


def ast(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of AST.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small`` or ``digits`` (ours, minutes on a CPU);
            ending in ``-official`` the authors' code is followed instead of the paper.
        ipc: images per class; an IPC without settings of its own takes those of the nearest.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    official, name = preset.endswith("-official"), preset.removesuffix("-official")
    table = {**_TABLE, **_mtt.OURS}
    setting = _mtt.nearest("ast", table, name if preset in PRESETS else preset, ipc)
    recipe = _mtt.compose("ast", name, setting)
    pool = recipe.pool
    assert isinstance(pool, Experts)
    return recipe.with_(
        initializer=Clustered(clusters=10, clustering=Clustering(features="logits" if official else "embedding")),
        pool__course=_smooth(pool.course, name in _mtt.OURS, official),
        pool__count=_EXPERTS.get(name, 50),
        objective__balance=True,
        objective__intermediate="equal",
        objective__points="official" if official else "paper",
        objective__perturb="tensors" if official else "filters",
        objective__alpha=1.0 if official else 0.1,
        objective__student_momentum=0.9 if official else 0.0,
        references=("shen2023ast", "cazenavette2022mtt"),
    ).with_(**_student(setting, name in _mtt.OURS, official))


def _student(setting: Setting, ours: bool, official: bool) -> dict[str, float]:
    """What the student of our settings has otherwise: momentum makes ten times the step of it."""
    if not ours:
        return {}
    return {
        "objective__student_lr": setting.student_lr / (20 if official else 2),
        "objective__alpha": 1.0 if official else 0.03,
    }


def _smooth(course: ExpertTraining, ours: bool, official: bool) -> ExpertTraining:
    """AST's experts: of ours the schedule is that of the paper, shortened to the epochs that there are."""
    shortened = course.epochs / 50
    clip = tuple(0.5 + 0.05 * epoch for epoch in range(10)) if official else (0.5, 0.6, 0.7, 0.8, 0.9)
    drop, penalty = (27, 2.0) if official else (25, 1.0)
    if ours:
        # Small networks that are trained for a few epochs are drawn away from their task by the full penalty.
        clip, drop, penalty = clip[:: round(1 / shortened)], round(drop * shortened), penalty / 10
    return replace(
        course,
        training=replace(course.training, lr=0.003, momentum=0.9, weight_decay=1e-3),
        clip=clip,
        penalty="channel" if official else "sample",
        penalty_weight=penalty,
        drops=(drop,),
        drop_factor=0.6 if official else 0.5,
    )
