"""Tables with units in circuits of Graphs, behind sums and inputs, equal the interpreter on both simulators."""

from fractions import Fraction

import numpy as np
import pytest

from approxhw.ir.kinds import Clip, Lookup
from approxhw.ir.kinds.requantize import table_of_unit
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.fit import fit_activation
from approxhw.numerics.functions.units import UNIT_KINDS
from approxhw.sim import bundle, simulate

WEIGHTS, BIAS = [[3, -2, 1], [-1, 2, 2], [2, 2, -3]], [-4, 2, 3]


def lookup(name, x, y, kind):
    formula = activation_formula(name)
    unit = fit_activation(formula, x, y, kind, 1.0).unit
    return Lookup(formula, table_of_unit(unit), unit)


def graphs_of(making, kind):
    """Yield Graphs of three features of 3 bits: a signed function behind sums, another behind it, an unsigned one of inputs."""
    step = Fraction(1, 8)
    odd = lookup("tanh", Fixed(6, True, step), Fixed(6, True, Fraction(1, 32)), kind)
    bent = lookup("gelu", Fixed(6, True, step), Fixed(6, True, step), kind)
    of_inputs = lookup("exp-minus", Fixed(3, False, Fraction(1, 2)), Fixed(5, False, Fraction(1, 32)), kind)
    sums = making(3, 3, f"{kind.replace('-', '_')}_sums").dense(WEIGHTS, BIAS).then(Clip(-32, 31)).then(odd)
    yield sums.then(bent).dense([[1, -2, 1], [2, 1, -1]], [0, 3]).argmax().graph()
    narrow = making(3, 3, f"{kind.replace('-', '_')}_narrow").dense(WEIGHTS, BIAS).then(Clip(-3, 9)).then(bent)
    yield narrow.graph()
    yield making(3, 3, f"{kind.replace('-', '_')}_inputs").then(of_inputs).graph()


def test_circuits_with_units_equal_the_interpreter(making, jobs, simulator, tmp_path):
    made = [jobs(graph) for kind in UNIT_KINDS for graph in graphs_of(making, kind)]
    result = simulate(bundle(made), simulator, tmp_path / simulator)
    assert len(made) == 15
    assert result.failing == {}
    assert result.vectors == 512


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_a_circuit_says_what_its_unit_is(making, jobs, kind):
    job = jobs(next(graphs_of(making, kind)))
    assert f"{kind} unit[" in job.verilog
    assert np.asarray(job.expected["class_index"]).size == 512
