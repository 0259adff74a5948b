"""What an estimate says beside the circuit: the calibrated one that is offered, and the system with its converters."""

import hashlib
import json

import numpy as np
import onnx
import pytest

import approxhw as ax
from approxhw.common.errors import InvalidDesignError, ToolTimeoutError
from approxhw.flow.stages import measure

RNG = np.random.default_rng(5)
LAYERS = [(RNG.normal(size=(4, 5)), np.zeros(5)), (RNG.normal(size=(5, 3)), np.zeros(3))]


@pytest.fixture(scope="module")
def files(mlp, rows_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("offer")
    onnx.save(mlp(LAYERS), folder / "m.onnx")
    rows, classes = rows_of(LAYERS, count=200)
    np.savez(folder / "d.npz", X_train=rows[:120], y_train=classes[:120], X_test=rows[120:], y_test=classes[120:])
    return folder


def compiled(files, name, **options):
    target = ax.Printed(weight_bits=5, registers=options.pop("registers", False), **options)
    return ax.compile(files / "m.onnx", target=target, data=files / "d.npz", output=files / name)


def test_the_offer_is_what_calibrating_makes(files, cli):
    exact, other = (
        compiled(files, name, pipeline=f"printed-{name}", registers=True) for name in ("exact", "calibrated")
    )
    assert exact.design.calibrated.graph == other.design.graph
    assert exact.design.calibrated.splits == other.accuracy["hardware_splits"]
    assert exact.summary()["offer"] == ""
    assert other.design.calibrated is None
    areas = [design.estimate().area_mm2 for design in (exact, other)]
    assert areas[1] < areas[0]
    kept = exact.summary()["estimate"]
    assert kept["calibrated_area_mm2"] == areas[1]
    points = 100 * (other.accuracy["hardware"] - exact.accuracy["hardware"])
    said = f"calibrated: {100 * (areas[1] / areas[0] - 1):.1f} % area at {points:+.2f} % accuracy on test rows"
    said = said.replace("-", "−") + " (compile with --pipeline printed-calibrated)"
    assert exact.summary()["offer"] == said
    assert said.capitalize() in exact.report().read_text()
    assert said in cli("estimate", exact.folder).stdout
    assert json.loads(cli("report", exact.folder, "--json").stdout)["offer"] == said


def test_a_printed_circuit_is_told_with_its_converters_and_silicon_is_not(files, cli):
    """Converters of the printed technology stand in front of printed circuits alone."""
    made = compiled(files, "system")
    assert made.summary()["system"] is None, "nothing is measured yet"
    found, outside = made.estimate(), made.design.converters
    told = made.summary()["system"]
    assert told["converters"] == outside.count == 4
    assert told["area_mm2"] == pytest.approx(found.area_mm2 + outside.area_mm2)
    assert told["power_mw"] == pytest.approx(found.power_mw + outside.power_mw)
    said = f"system, converters in: {told['area_mm2'] / 100:.3g} cm², {told['power_mw']:.3g} mW"
    assert said in cli("estimate", made.folder).stdout
    page = made.report().read_text()
    assert "With 4 converters, area" in page
    assert page.count("; with converters") == 2, "area and power, among what everyone asks for first"
    assert "system, converters in" not in cli("estimate", made.folder, "--library", "sky130").stdout
    assert made.summary()["system"] is None
    assert "with converters" not in made.report().read_text().lower()


def test_what_cannot_be_measured_in_time_is_not_offered_and_costs_nothing_else(files, monkeypatch):
    def late(*given, **how):
        raise ToolTimeoutError("yosys", 1.0, "")

    monkeypatch.setattr(measure, "circuit_area", late)
    design = compiled(files, "late")
    assert design.estimate().area_mm2 > 0
    assert design.summary()["estimate"]["calibrated_area_mm2"] is None
    assert design.summary()["offer"] == ""


@pytest.mark.parametrize("options", [{"pipeline": "printed-po2"}, {"pipeline": "printed-calibrated"}])
def test_other_pipelines_offer_nothing(files, options):
    design = compiled(files, "none", **options)
    assert design.design.calibrated is None
    assert not (design.folder / "calibrated.axir").exists()


def test_nothing_is_offered_without_training_rows_or_with_passes_of_ones_own(files):
    target = ax.Printed(low=(0.0,), high=(1.0,))
    assert ax.compile(files / "m.onnx", target=target, output=files / "bare").design.calibrated is None
    passes = ("printed-exact",)
    own = ax.compile(files / "m.onnx", passes=passes, data=files / "d.npz", output=files / "own")
    assert own.design.calibrated is None


def test_a_damaged_offer_is_named(files):
    design = compiled(files, "damaged")
    (design.folder / "calibrated.axir").unlink()
    with pytest.raises(InvalidDesignError, match=r"calibrated\.axir"):
        ax.open_design(design.folder)


@pytest.mark.parametrize("name", ["graph.axir", "steps/00_input.axir"])
def test_an_offer_of_another_model_is_refused(files, mlp, name):
    design = compiled(files, "forged")
    shape = [(RNG.normal(size=(6, 3)), np.zeros(3))]
    rows = RNG.normal(size=(40, 6))
    other = ax.compile(mlp(shape), data=(rows, np.arange(40) % 3), output=files / "other", steps=True)
    text = (other.folder / name).read_bytes()
    (design.folder / "calibrated.axir").write_bytes(text)
    told = json.loads((design.folder / "design.json").read_text())
    told["files"]["calibrated.axir"] = hashlib.sha256(text).hexdigest()
    (design.folder / "design.json").write_text(json.dumps(told))
    with pytest.raises(InvalidDesignError, match=r"calibrated\.axir is none of this Graph, calibrated"):
        ax.open_design(design.folder)
