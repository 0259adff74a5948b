"""A whole search of circuits with a bound on what any class may lose: its rule, its member, its options and what is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import OptionError
from approxhw.dse.genetic.options import Seeding
from approxhw.passes.retrain.genetic_retraining import GeneticRetraining

SMALL = {
    "folds": 1,
    "population": 16,
    "generations": 3,
    "synthesise_every": 0,
    "members": 3,
    "synthesised": 4,
    "simulate": (),
    "seeding": Seeding(starts=2, moves=300),
    "jobs": 1,
}


def searched(iris, passes, tmp_path, **options):
    return ax.search(
        iris.model, data=iris.data, output=tmp_path / "front", passes=ax.parse_passes(passes), **{**SMALL, **options}
    )


def worst(design, answers, data):
    """Return what the worst class of training rows loses, counted row by row."""
    made, found = design.predict(data.X_train), []
    for label in np.unique(data.y_train):
        mine = data.y_train == label
        found.append(float((answers[mine] == label).mean() - (made[mine] == label).mean()))
    return max(found)


def test_the_chosen_circuit_keeps_every_class(iris, passes, tmp_path):
    made = searched(iris, passes, tmp_path, max_accuracy_loss="50%", max_class_loss="40%")
    front, data = made.front, ax.load_dataset(iris.data)
    assert ", and no class more than 40 %" in front.rule
    assert front.options["max_class_loss"] == 0.4
    assert "max_class_loss=0.4" in next(
        row["spelled"] for row in made.chosen.design.design.ledger if row["name"] == "search"
    )
    safety = made.chosen.design.safety
    assert (safety.max_accuracy_loss, safety.max_class_loss) == (0.5, 0.4)
    assert safety.against == "the model as it was read"
    graph = ax.read(iris.model)
    from approxhw.ir.evaluation import predict

    lost = worst(made.chosen.design, predict(graph, data.X_train), data)
    assert lost == pytest.approx(safety.worst.judged.loss)
    assert "; there is none" not in front.rule  # a bound that nothing keeps has a test of its own
    assert lost <= 0.4
    page = (made.folder / front.chosen.design / "report.html").read_text()
    assert '<section id="safety">' in page


def test_a_bound_that_nothing_keeps_is_told(iris, tmp_path):
    poor = "quantize-inputs,fold-affine,power-of-two{epochs=0,starts=1,exponents=1}"
    options = {"generations": 0, "islands": 2, "population": 8, "seeding": Seeding(starts=0), "max_class_loss": "0%"}
    made = searched(iris, poor, tmp_path, **options)
    assert "; there is none, so it is the one that misses this least, by " in made.front.rule
    assert any("no circuit holds what was asked of the chosen one" in line for line in made.front.warnings)


@pytest.mark.slow
def test_recipes_keep_every_class(iris, passes, tmp_path):
    free = searched(iris, passes, tmp_path / "free", families="tree", max_accuracy_loss="40%")
    made = searched(iris, passes, tmp_path, families="tree", max_accuracy_loss="40%", max_class_loss="10%")
    assert ", and no class more than 10 %" in made.front.rule
    assert "class" not in free.front.rule
    assert made.chosen.area_mm2 > free.chosen.area_mm2
    assert max(free.chosen.design.safety.worst.judged.loss, 0.5) > made.chosen.design.safety.worst.judged.loss


def test_the_command_line_takes_the_bound(iris, passes, cli, tmp_path):
    words = ("--folds", 1, "--population", 16, "--generations", 1, "--jobs", 1, "--members", 2, "--no-simulate", "--starts", 1,
             "--moves", 100, "--synthesised", 3, "--synthesise-every", 0, "--passes", passes)  # fmt: skip
    given = ("search", iris.model, "--data", iris.data, "-o", tmp_path / "front")
    shown = cli(*given, *words, "--max-class-loss", "15%", "--json")
    assert shown.exit_code == 0, shown.output
    assert "and no class more than 15 %" in json.loads(shown.stdout)["rule"]
    wrong = cli(*given, *words, "--max-class-loss", "150%")
    assert wrong.exit_code == OptionError.exit_code
    assert "max_class_loss: '150%' is no share from 0 to 1" in wrong.output


def test_the_pass_takes_the_bound():
    (item,) = ax.parse_passes("genetic-retraining{max_class_loss=0.1}")
    assert item == GeneticRetraining(max_class_loss=0.1)
    with pytest.raises(OptionError, match=r"genetic-retraining.max_class_loss: 2 is not between 0 and 1"):
        GeneticRetraining(max_class_loss=2.0)
