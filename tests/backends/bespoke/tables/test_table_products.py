"""Layers whose products come from tables: the circuit is the interpreter, by look-ups and by sums over bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.products import table_neuron
from approxhw.backends.cells.blocks import Word
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Clip, Dense, Requantize
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, dense_reference
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import ProductTable
from approxhw.passes.approximate._operators import integer_layers, replaced

RNG = np.random.default_rng(3)


def with_table(graph, layer, table):
    return replaced(graph, integer_layers(graph)[layer].name, table, skip_zero=False)


def equal_after_synthesis(graph, jobs):
    """Compare the synthesised netlist with the interpreter on every vector of the job; return how many there were."""
    job = jobs(graph)
    ((output, _),) = job.outputs
    seen = simulate_netlist(synthesise(job.verilog, job.top, "egfet"), job.vectors)[output]
    assert np.asarray(seen).tolist() == job.expected[output].tolist()
    return job.count


def tables(weight_bits, x_bits):
    shape = (1 << weight_bits, 1 << x_bits)
    linear = RNG.integers(-50, 50, (shape[0], x_bits)) @ (np.arange(shape[1]) >> np.arange(x_bits)[:, None] & 1)
    return {
        "noise": RNG.integers(-200, 200, shape),
        "sums over bits": linear + RNG.integers(-9, 9, (shape[0], 1)),
        "constant rows": np.repeat(RNG.integers(-9, 9, (shape[0], 1)), shape[1], axis=1),
        "one bit each": np.tile(np.arange(shape[1]) & 4, (shape[0], 1)),
    }


@pytest.mark.parametrize("kind", list(tables(4, 3)))
def test_a_layer_of_any_table_is_the_interpreter(making, jobs, kind):
    graph = making(4, 3).dense([[3, -8, 0, 7], [1, 2, -3, -4]], [5, -6]).argmax().graph()
    changed = with_table(graph, 0, ProductTable(kind, tables(4, 3)[kind]))
    # of the constant rows nothing reads a port, of the others some bits at least
    assert equal_after_synthesis(changed, jobs) >= (1 if kind == "constant rows" else 16)


@pytest.mark.parametrize("name", ["truncated-2", "truncated-2-corrected", "broken-array-3-1", "logarithmic"])
def test_two_layers_of_our_own_multipliers_are_the_interpreter(making, jobs, name):
    graph = (
        making(3, 4)
        .dense([[7, -3, 5], [-8, 6, 1]], [3, 4])
        .then(Requantize((1,), 2, (0,), 0, 15))
        .dense([[5, -7], [-6, 3], [1, 1]], [0, 2, -1])
        .argmax()
        .graph()
    )
    operator = own_operator(name)
    for layer in (0, 1):
        graph = with_table(graph, layer, operator.table(4, 4))
    assert equal_after_synthesis(graph, jobs) >= 1 << 9


def test_signed_codes_that_stop_short_of_their_format(making, jobs):
    graph = (
        making(2, 4)
        .dense([[3, -2], [-1, 4]], [-9, 3])
        .then(Clip(-5, 11))
        .dense([[3, -4], [-5, 6]], [0, 1])
        .argmax()
        .graph()
    )
    for kind, table in tables(4, 5).items():
        changed = with_table(graph, 1, ProductTable(kind, table, "both"))
        assert equal_after_synthesis(changed, jobs) == (1 if kind == "constant rows" else 256)


def test_on_simulators(making, jobs, simulator, tmp_path):
    from approxhw.sim import simulate

    graph = making(3, 4).dense([[7, -3, 5], [-8, 6, 1]], [3, 4]).argmax().graph()
    changed = with_table(graph, 0, own_operator("logarithmic").table(4, 4))
    result = simulate(jobs(changed), simulator, tmp_path / simulator)
    assert (result.mismatches, result.vectors) == (0, 1 << 12)


def test_rows_that_are_sums_over_bits_take_no_look_up(making):
    graph = making(3, 4).dense([[7, -3, 5]], [3]).threshold(0).graph()

    def templates(name):
        circuit = build_circuit(with_table(graph, 0, own_operator(name).table(4, 4)))
        return {cell.template for block in circuit.blocks for cell in block.cells}

    assert "table_lookup" not in templates("truncated-3")
    assert "table_lookup" not in templates("broken-array-4-1")
    assert "table_lookup" in templates("logarithmic")


def test_codes_that_never_come_do_not_matter():
    """A row that is a sum over bits for 0 … 2 only is one where x goes no further."""
    row = np.array([0, 5, 9, -77])
    word = Word(0, 2, (("x", 0), ("x", 1)))
    assert summed(row, word) == [4 + row[code] for code in range(3)]
    whole = replace(word, high=3)
    assert summed(row, whole) is None


def test_negative_codes_of_fewer_bits_than_the_table_reads():
    row = np.array([1, 5, 77, 78, 79, 80, -9, -5])
    word = Word(-2, 1, (("x", 0), ("x", 1)))
    assert summed(row, word) == [4 + row[code] for code in (-2, -1, 0, 1)]
    row[7] += 1
    assert summed(row, word) is None


def summed(row, word) -> list[int] | None:
    """Return 4 + T[1, x] of one neuron for every code of *word*, None where it is looked up."""
    arithmetic = ApproximateMultiplier(1, len(row).bit_length() - 1)
    neuron = table_neuron(arithmetic, np.stack([row, row]), [1], 4, [word], ["x"])
    if neuron.cells:
        return None
    sums = []
    for code in range(word.low, word.high + 1):
        values = {("x", 0): code & 1, ("x", 1): code >> 1 & 1, 0: 0, 1: 1}
        summands = [
            sign * sum(values[bit] << place for place, bit in enumerate(neuron.sources[source].bits)) << shift
            for source, shift, sign in neuron.terms
        ]
        sums.append(neuron.constant + sum(summands))
    return sums


def test_the_interpreter_is_the_plain_reference(making):
    graph = making(4, 4).dense(RNG.integers(-8, 8, (3, 4)), [1, -2, 30]).argmax().graph()
    table = RNG.integers(-300, 300, (16, 16))
    changed = with_table(graph, 0, ProductTable("noise", table))
    node = changed["sum0"]
    assert isinstance(node.op, Dense)
    rows = RNG.integers(0, 16, (50, 4))
    seen = run(replace(changed, output="sum0"), rows)
    weights, bias = changed.constant(node.inputs[1]).tolist(), changed.constant(node.inputs[2]).tolist()
    for row, sums in zip(rows.tolist(), seen.tolist(), strict=True):
        assert sums == dense_reference(node.op.arithmetic, weights, bias, row, table.tolist())
