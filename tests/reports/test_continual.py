import pytest

from limbeck.evaluation.protocols import limbeck
from limbeck.reports.continual import LearningCurve, Stage, Stages, continual_table, learning_curves


def found() -> Stages:
    def curve(method: str, *means: float) -> LearningCurve:
        stages = [
            Stage(2 * (number + 1), ((mean - 0.02, mean), (mean, mean + 0.02)), 100, 2.0)
            for number, mean in enumerate(means)
        ]
        return LearningCurve(method, tuple(stages))

    curves = (curve("random", 0.9, 0.6), curve("dm", 0.95, 0.8))
    orders = ((("a", "b"), ("c", "d")), (("c", "b"), ("a", "d")))
    return Stages("letters", limbeck(), 5, orders, curves)


def test_figures_are_over_all_networks_of_all_orders() -> None:
    stage = found().curves[0].stages[1]
    assert stage.mean == pytest.approx(0.6)
    assert stage.std == pytest.approx((2 * 0.02**2 / 3) ** 0.5)
    assert found().curves[1].average == pytest.approx(0.875)
    assert Stage(2, ((0.5,),), 1, 0.0).std == 0.0


def test_the_table_has_a_column_for_every_step() -> None:
    table = continual_table(found())
    assert [str(column.header) for column in table.columns] == ["method", "2 classes", "4 classes", "average", "distil"]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[0] == ["random", "dm"] and cells[2][1].startswith("80.0 ± 1.6") and cells[3] == ["75.0", "87.5"]


def test_plain_data_have_what_the_curves_have() -> None:
    plain = found().as_plain()
    assert plain["orders"][1] == [["c", "b"], ["a", "d"]] and plain["protocol"]["name"] == "limbeck"
    assert plain["methods"][1]["stages"][1]["mean"] == pytest.approx(0.8)


def test_curves_are_drawn() -> None:
    drawn = learning_curves(found().curves)
    assert drawn.startswith(b"<?xml") and drawn == learning_curves(found().curves)
    assert learning_curves(found().curves, form="png").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no curves"):
        learning_curves([])
