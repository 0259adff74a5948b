"""A realistic report, 16-5-10 with ten classes, and what a hostile model and data file could bring into it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.statistics.changes import RowChange
from approxhw.common.statistics.margins import SHARES, MarginShift
from approxhw.common.statistics.safety import FormChange, SafetyReport
from approxhw.common.statistics.subgroups import PartChange
from approxhw.report import Accuracy, Confusion, Cost, DrawnLayer, LayerCost, LedgerRow, PortRow, ReportData, Simulation


def _layer(name: str, inputs: int, outputs: int, seed: int, **more: object) -> DrawnLayer:
    weights = np.random.default_rng(seed).integers(-40, 41, (outputs, inputs))
    weights[np.abs(weights) < 8] = 0
    return DrawnLayer(
        name=name,
        kind="dense",
        inputs=inputs,
        outputs=outputs,
        nonzero=int(np.count_nonzero(weights)),
        weight_bits=8,
        weights=tuple(tuple(map(int, row)) for row in weights),
        **more,
    )


def _change(rows: int, lost: int) -> RowChange:
    return RowChange(rows, rows - rows // 30, lost, rows // 200, lost + rows // 100)


def _safety() -> SafetyReport:
    classes = tuple(
        PartChange(str(i), _change(750, 60 if i == 8 else 6), _change(350, 30 if i == 8 else 3)) for i in range(10)
    )
    worst = FormChange("encode-inputs{bits=4}", _change(7494, 80), "8", _change(750, 60))
    return SafetyReport(
        against="the model in onnxruntime",
        judged_by="training rows",
        told_by="test rows",
        whole=PartChange("all rows", _change(7494, 110), _change(3498, 60)),
        classes=classes,
        flips=((8, 3, 41), (3, 8, 9), (1, 2, 7)),
        groups_by="quarters of each of 16 features",
        groups_seen=64,
        groups=(PartChange("y3 of the pen: above 71", _change(1873, 70), _change(870, 31)),),
        margins=MarginShift(SHARES, (0.01, 0.09, 0.4, 0.8, 1.3, 1.9), (0.0, 0.05, 0.36, 0.77, 1.28, 1.9), 2000),
        steps=(worst,),
        layers=(replace(worst, name="layer1"),),
        layers_against="exact products",
        notes=("no training row is of class 11: what it loses is not known",),
    )


@pytest.fixture(scope="session")
def realistic() -> ReportData:
    random = np.random.default_rng(3)
    counts = np.diag(random.integers(180, 240, 10)) + (random.random((10, 10)) < 0.2) * random.integers(0, 14, (10, 10))
    titles = tuple(f"{axis}{point}" for point in range(1, 9) for axis in "xy")
    formula = "code = clip(floor((x - 0.0) / (100.0 - 0.0) * 15 + 0.5), 0, 15)"
    return ReportData(
        title="pendigits",
        model="pendigits.onnx",
        pipeline="printed-exact",
        version="0.1.0",
        folder="build/pendigits",
        layers=(
            _layer("layer0", 16, 5, 1, accumulator_bits=15, activation="relu"),
            _layer("layer1", 5, 10, 2, accumulator_bits=21, activation="argmax"),
        ),
        inputs=titles,
        labels=tuple(range(10)),
        accuracy=(
            Accuracy("float", 0.9627, 0.9604, "onnxruntime"),
            Accuracy("quantised", 0.9581, 0.9541, "4-bit inputs, 8-bit weights"),
            Accuracy("hardware", 0.9581, 0.9541, "bit-exact interpreter"),
        ),
        confusion=Confusion(tuple(tuple(map(int, row)) for row in counts)),
        ports=(
            *(PortRow(t, "input", 4, f"{t} of the pen", 0.0, 100.0, formula) for t in titles),
            PortRow("class_index", "output", 4, "index of the class"),
        ),
        cost=Cost(
            library="egfet",
            voltage=1.0,
            area_mm2=4312.6,
            power_mw=151.32,
            static_power_mw=151.3,
            dynamic_power_mw=0.02,
            delay_ms=67.4,
            cells=9213,
            frequency_hz=5.0,
            cells_by_type=(("NAND2", 6120), ("INV", 1822), ("NOR2", 960), ("XNOR2", 201), ("XOR2", 110)),
            states_from="the design's 7494 training rows",
            by_layer=(
                LayerCost("layer0", 2711.0, 95.2, 5801),
                LayerCost("layer1", 1502.4, 52.7, 3203),
                LayerCost("argmax", 301.1, 10.5, 650),
            ),
            critical_path=("NAND2 layer0_neuron3", "XNOR2 layer0_neuron3", "NOR2 argmax_level0"),
        ),
        ledger=(
            LedgerRow("fold-affine", "algebraic", "", 0.9604, 0.9604, 126, None, seconds=0.0021),
            LedgerRow("encode-inputs", "approximating", "bits=4", 0.9604, 0.9551, 126, None, seconds=0.011),
            LedgerRow(
                "quantize-weights",
                "approximating",
                "bits=8",
                0.9551,
                0.9541,
                101,
                21,
                seconds=0.024,
                notes=("25 weights became 0",),
            ),
            LedgerRow("drop-dead-bits", "exact", "", 0.9541, 0.9541, 101, 19, seconds=0.034, checked_rows=10_992),
        ),
        simulations=(
            Simulation("icarus", 4562, 0, (("data", 3498), ("corners", 64), ("random", 1000)), seconds=3.91),
            Simulation("verilator", 4562, 0, (("data", 3498), ("corners", 64), ("random", 1000)), seconds=5.2),
        ),
        commands=(
            "approxhw compile pendigits.onnx --data pendigits.npz --target printed -o build/pendigits",
            "approxhw simulate build/pendigits --simulator icarus",
            "approxhw simulate build/pendigits --simulator verilator",
            "approxhw estimate build/pendigits --library egfet",
        ),
        seconds=(("read", 0.041), ("passes", 0.071), ("emit", 0.51), ("simulate icarus", 3.91), ("estimate", 8.44)),
        warnings=("12 of 55 968 test readings lie outside their feature's range and were saturated.",),
        safety=_safety(),
    )


HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"{{ 7*7 }}{% raw %}"
LONG = "long_name_" * 1000


def _hostile_safety(text: str) -> SafetyReport:
    """Return the report with every text in it that one."""
    told = _safety()
    parts = tuple(replace(part, name=text) for part in told.classes)
    forms = tuple(replace(form, name=text, worst_class=text) for form in told.steps)
    words = dict.fromkeys(("against", "judged_by", "told_by", "groups_by", "layers_against"), text)
    groups = (replace(told.groups[0], name=text),)
    return replace(told, classes=parts, groups=groups, steps=forms, layers=forms, notes=(text,), **words)


@pytest.fixture(scope="session")
def hostile(realistic: ReportData) -> ReportData:
    """Every text of the report is hostile or 10 000 characters long, or both."""
    both = HOSTILE + LONG
    return replace(
        realistic,
        title=both,
        safety=_hostile_safety(both),
        model=both,
        pipeline=both,
        measure=both,
        version=both,
        folder=both,
        layers=tuple(replace(layer, name=both, kind=both, activation=both) for layer in realistic.layers),
        inputs=(
            both,
            LONG,
            HOSTILE,
            "\u202egnp.exe",
            "\ud800 lone surrogate",
            "line\nbreak\0nul",
            *realistic.inputs[6:],
        ),
        labels=(both, LONG, HOSTILE, "日本語のラベル", *realistic.labels[4:]),
        accuracy=tuple(replace(row, form=both, note=both) for row in realistic.accuracy),
        confusion=replace(realistic.confusion, rows=both),
        ports=tuple(replace(port, name=LONG, direction=both, title=both, formula=both) for port in realistic.ports),
        cost=replace(
            realistic.cost,
            library=both,
            states_from=both,
            cells_by_type=((both, 3), (LONG, 5)),
            by_layer=tuple(replace(part, name=both) for part in realistic.cost.by_layer),
            critical_path=(both, LONG) * 50,
            delay_point=both,
        ),
        ledger=tuple(replace(row, name=both, kind=both, options=both, notes=(both,)) for row in realistic.ledger),
        simulations=tuple(
            replace(run, simulator=both, sources=((both, 1),), mismatches=3, mismatch_file=both)
            for run in realistic.simulations
        ),
        commands=(both,),
        seconds=((both, 1.0),),
        warnings=(both,) * 3,
    )


@pytest.fixture(scope="session")
def empty() -> ReportData:
    """A report before anything was run."""
    return ReportData(title="iris", model="iris.onnx", pipeline="printed-exact", version="0.1.0", folder="build/iris")
