"""Every declared cell has a recipe that its words make, and comes when it is said to."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from benchmarks.campaign.cells import TABLES, Cell, declared, priority, tables
from benchmarks.tables import small_campaign
from limbeck import networks
from limbeck.core.errors import InputError
from limbeck.evaluation.protocols import PROTOCOLS
from limbeck.registry import methods
from limbeck.reports.published import published
from tests.benchmarks.campaign_cells import TOY

CELLS = declared()


@pytest.mark.parametrize("name", TABLES)
def test_the_words_of_every_cell_make_a_recipe(name: str) -> None:
    for words, same in itertools.groupby(
        sorted(declared((name,)), key=lambda cell: (cell.words, cell.data, cell.ipc)),
        key=lambda cell: (cell.words, cell.data, cell.ipc),
    ):
        cell = next(same)
        recipe = cell.recipe()
        recipe.check()
        assert recipe.name == words[0][0], cell
        assert cell.protocol in PROTOCOLS
        networks.options(cell.network)


def test_runs_of_one_name_have_one_recipe() -> None:
    by_run: dict[tuple[str, str], set[tuple[tuple[str, ...], int, str]]] = {}
    for cell in CELLS:
        by_run.setdefault((cell.block, cell.run), set()).add((cell.words, cell.ipc, cell.storage))
    assert all(len(different) == 1 for different in by_run.values())


def test_no_table_has_a_cell_twice() -> None:
    for table in tables():
        names = [(cell.label, cell.data, cell.ipc, cell.network) for cell in table.cells]
        assert table.cells and len(set(names)) == len(names), table.title


def test_the_small_campaign_has_all_methods() -> None:
    assert sorted(small_campaign.METHODS) == sorted(
        name for name, entry in methods().items() if entry.make.__module__.startswith("limbeck.methods.")
    )
    cells = declared(("small_campaign",))
    assert len(cells) == 2 * 2 * len(small_campaign.METHODS)
    assert {(cell.data, cell.ipc) for cell in cells} == set(itertools.product(("fashion-mnist", "cifar10"), (1, 10)))
    assert all(cell.seeds == 3 and not cell.published_settings for cell in cells)
    assert cells[0].run == "random-ipc10" and cells[6].run == "dream-ipc10"


def test_every_figure_that_the_library_has_of_a_paper_is_a_cell() -> None:
    main = [cell for table in tables(("main_tables",)) for cell in table.cells]
    known = {(cell.label, cell.data, cell.ipc, cell.paper) for cell in main}
    for row in published():
        if row.source != "IDC, page of the authors' code":
            assert (row.method, row.data, row.ipc or 0, round(100 * row.accuracy, 2)) in known


def test_on_a_gpu_the_five_methods_come_first() -> None:
    order = [cell for cell in CELLS if cell.device == "cuda"]
    runs = list(dict.fromkeys((cell.data, cell.run) for cell in order))
    first = ["dream", "dsdm", "ast", "dwa", "dasm"]
    assert runs[:5] == [("cifar10", f"{method}-ipc10") for method in first]
    baselines = list(itertools.takewhile(lambda cell: cell.data == "cifar10", order))
    rest = [cell for cell in baselines if cell.words[0] not in first]
    assert {cell.words[0] for cell in rest} >= {"random", "herding", "dc", "dsa", "idc", "dm", "mtt", "sre2l"}
    assert {cell.ipc for cell in baselines} == {10} and {cell.kind for cell in baselines} == {"main"}
    after = order[len(baselines)]
    assert (after.data, after.ipc, after.words) == ("fashion-mnist", 10, ("dream",))
    where = [cell.data in ("cifar10", "fashion-mnist") for cell in order]
    assert where == sorted(where, reverse=True)  # data that are not at hand come last


def test_on_a_cpu_ten_images_come_before_one() -> None:
    blocks = [(cell.data, cell.ipc) for cell in CELLS if cell.device == "cpu"]
    assert list(dict.fromkeys(blocks)) == [("fashion-mnist", 10), ("cifar10", 10), ("fashion-mnist", 1), ("cifar10", 1)]
    assert max(priority(cell) for cell in CELLS if cell.device == "cpu") < (1,)


def test_words_that_are_no_recipe_are_refused() -> None:
    with pytest.raises(InputError, match="no recipe here"):
        replace(TOY, words=()).recipe()
    with pytest.raises(InputError, match="not --seed"):
        replace(TOY, words=("dm", "--seed", "3")).recipe()


def test_what_tells_cells_apart() -> None:
    cell = Cell(kind="main", label="dream", data="cifar10", ipc=10, words=("dream",))
    assert (cell.block, cell.run, cell.judged_by) == ("cifar10-jpeg-published", "dream-ipc10", "idc convnet3")
    assert cell.data_title == "CIFAR-10 (JPEG copy)"
    assert cell.command == "limbeck distill dream --ipc 10 --validation 0"
    assert cell.loading.validation == 0 and TOY.loading.validation > 0
