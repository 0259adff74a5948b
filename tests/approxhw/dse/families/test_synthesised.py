"""Circuits synthesised once: under a design's name they are, text and netlist, what synthesis of the design itself makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.estimate import synthesise
from approxhw.dse.families.synthesised import Synthesised
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.families.table import family_recipes, fit_recipes, learnt_graph
from approxhw.networks.trees.families import TreeFitting

HEADER = ("model: some.onnx", "made by hand")


def _graph(iris) -> Graph:
    rows = ax.load_dataset(iris.data)
    coded, _ = ax.run_passes(ax.read(iris.model), ax.parse_passes("quantize-inputs"), PassContext(rows))
    codes = codes_of(coded, rows.X_train)
    recipe = next(each for each in family_recipes(("tree",), 6) if each.size == 6)
    made = fit_recipes(np.asarray(codes), rows.y_train, [recipe], TreeFitting(3))[0].made
    return ax.run_passes(learnt_graph(coded, made), ax.parse_passes("drop-constant,narrow-formats"))[0]


@pytest.fixture(scope="module")
def graph(iris) -> Graph:
    return _graph(iris)


@pytest.fixture(scope="module")
def made(graph) -> Synthesised:
    emitted = emit(build_circuit(graph))
    return Synthesised(emitted, synthesise(emitted.verilog, emitted.top))


def test_a_circuit_called_anew_is_what_emitting_and_synthesising_it_gives(graph, made):
    wanted = emit(build_circuit(replace(graph, name="member_07")), header=HEADER)
    assert made.called("member_07", HEADER) == wanted
    netlist, anew = made.netlist_of(wanted.verilog, wanted.top), synthesise(wanted.verilog, wanted.top)
    assert len(anew.instances) > 3
    for field in ("top", "ports", "instances", "net_count", "names", "initial", "verilog", "modules", "notes"):
        assert getattr(netlist, field) == getattr(anew, field), field


def test_a_name_that_is_another_things_is_not_given_to_a_circuit(made):
    port, _ = made.emitted.input_bits[0]
    assert made.called(port, HEADER) is None
    assert made.called(made.emitted.top, ()).verilog == made.emitted.verilog


def test_another_circuit_or_one_with_registers_has_no_netlist_of_this_one(graph, made):
    changed = made.emitted.verilog.replace("1'h1", "1'h0").replace("2'h1", "2'h2")
    assert changed != made.emitted.verilog
    assert made.netlist_of(changed, made.emitted.top) is None
    registered = emit(build_circuit(graph), registers=True)
    assert made.netlist_of(registered.verilog, registered.top) is None
    assert made.netlist_of(f"// a comment\n{made.emitted.verilog}", made.emitted.top) is not None
