"""Our own multipliers as modules: reference = table = kernel = RTL on both simulators = netlist, every pair of patterns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.backends.integer_engine.operator_modules import operator_verilog, product_bits
from approxhw.common.errors import OptionError
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer
from approxhw.numerics.multipliers.families import EXACT, own_operator
from approxhw.numerics.multipliers.signs import SIGNS, operand_values
from approxhw.numerics.multipliers.tables import error_figures
from approxhw.sim import SimulationJob, bundle, lint, simulate

OPERATORS = (
    EXACT,
    "truncated-0",
    "truncated-4-corrected",
    "broken-array-4-1",
    "logarithmic",
    "logarithmic-balanced",
    "leading-3",
    "rounded",
)
"""One of each family, and of what has RTL of its own in it."""


@cache
def products(name: str, weight_bits: int, x_bits: int, signed: str) -> np.ndarray:
    """Return all products by the plain reference."""
    operator = own_operator(name)
    if operator is not None:
        return operator.table(weight_bits, x_bits, signed).products
    weights, codes = operand_values(weight_bits, signed != "none"), operand_values(x_bits, signed == "both")
    return weights[:, None] * codes[None, :]


def job_of(name: str, weight_bits: int, x_bits: int, signed: str, text: str = "") -> SimulationJob:
    """Return the module of operator *name* with every pair of patterns; *text*: Verilog in place of its own."""
    bits = product_bits(own_operator(name), weight_bits, x_bits)
    a, b = np.divmod(np.arange(1 << (weight_bits + x_bits)), 1 << x_bits)
    return SimulationJob(
        f"{name}_{signed}_{weight_bits}_{x_bits}".replace("-", "_"),
        text or operator_verilog(name, weight_bits, x_bits, signed),
        "multiplier",
        (("a", weight_bits), ("b", x_bits)),
        (("y", bits),),
        vectors={"a": a, "b": b},
        expected={"y": products(name, weight_bits, x_bits, signed).reshape(-1) % (1 << bits)},
    )


def differing(job: SimulationJob) -> tuple[int, int]:
    """Return how many products of the netlist of *job* are compared, and how many differ."""
    seen = simulate_netlist(synthesise(job.verilog, job.top, "egfet"), job.vectors)
    compared = [np.asarray(seen[port]) == expected for port, expected in job.expected.items()]
    return sum(map(len, compared)), sum(int((~equal).sum()) for equal in compared)


@pytest.mark.parametrize("signed", SIGNS)
def test_the_table_is_the_reference_number_by_number(signed):
    compared = 0
    for name in OPERATORS[1:]:
        operator, table = own_operator(name), products(name, 5, 4, signed)
        for i, w in enumerate(operand_values(5, signed != "none").tolist()):
            for j, x in enumerate(operand_values(4, signed == "both").tolist()):
                assert table[i, j] == operator.product(w, x, 5, 4, signed), (name, w, x)
                compared += 1
    assert compared == 7 * 512


@pytest.mark.parametrize("signed", SIGNS)
def test_the_kernel_reads_the_table(signed):
    codes = np.arange(256).astype(np.uint8)[None, :]
    weights, x = (
        codes.view(np.int8 if signed != "none" else np.uint8),
        codes.view(np.int8 if signed == "both" else np.uint8),
    )
    for name in OPERATORS:
        table = products(name, 8, 8, signed)
        mac = IntegerMac(name, signed)
        assert (matmul_integer(x, weights, mac, table) == table.T).all(), name


@cache
def small_ones() -> SimulationJob:
    """Return all operators in all signs, 5 × 4 bits, and 8 × 4 bits with signed weights, side by side."""
    small = [job_of(name, 5, 4, signed) for name in OPERATORS for signed in SIGNS]
    return bundle([*small, *(job_of(name, 8, 4, "weight") for name in OPERATORS)])


def test_modules_equal_their_reference_on_simulators(simulator, tmp_path):
    result = simulate(small_ones(), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors == 4096
    assert len(small_ones().expected) == 8 * 3 + 8


def test_small_netlists_equal_their_reference():
    assert differing(small_ones()) == (32 * 4096, 0)


@pytest.mark.parametrize(("name", "signed"), list(zip(OPERATORS, (SIGNS * 3)[: len(OPERATORS)], strict=True)))
def test_netlists_of_8_by_8_bits_equal_their_reference(name, signed):
    assert differing(job_of(name, 8, 8, signed)) == (1 << 16, 0)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("broken-array-4-1", "row[i-1].sum & row[i-1].carry", "row[i-1].sum | row[i-1].carry"),
        ("leading-3", "? i :", "? i - 1 :"),
        ("logarithmic", "place    = magnitude_a[i] ? i", "place    = magnitude_a[i] ? i + 1"),
    ],
)
def test_a_module_that_is_wrong_is_seen(name, right, wrong):
    text = operator_verilog(name, 5, 4, "both")
    assert right in text
    compared, differ = differing(job_of(name, 5, 4, "both", text.replace(right, wrong)))
    assert compared == 512
    assert differ > 0


@pytest.mark.parametrize("signed", SIGNS)
def test_modules_are_clean_and_say_what_they_are(signed, icarus, verilator):
    for name in OPERATORS:
        text = operator_verilog(name, 8, 4, signed)
        lint(text, "multiplier")
        ports = [(port.name, port.bits, port.signed) for port in read_modules(text)["multiplier"].ports]
        bits = product_bits(own_operator(name), 8, 4)
        assert ports == [("a", 8, signed != "none"), ("b", 4, signed == "both"), ("y", bits, signed != "none")]
        assert text.startswith(f"// {name}: 8-bit {'un' * (signed == 'none')}signed a by 4-bit ")


@pytest.mark.parametrize("signed", SIGNS)
def test_the_narrowest_modules_are_clean_and_right(signed, icarus, verilator):
    compared = 0
    for name in ("truncated-4-corrected", "broken-array-4-1", "logarithmic", "logarithmic-balanced"):
        job = job_of(name, 2, 1, signed)
        lint(job.verilog, "multiplier")
        count, differ = differing(job)
        assert differ == 0, name
        compared += count
    assert compared == 4 * 8


def test_every_product_has_room():
    for name in OPERATORS:
        for signed in SIGNS:
            table, bits = products(name, 8, 8, signed), product_bits(own_operator(name), 8, 8)
            low = -(1 << (bits - 1)) if signed != "none" else 0
            assert low <= table.min(), name
            assert table.max() < low + (1 << bits), name


def test_what_cannot_be_is_said_at_once():
    with pytest.raises(OptionError) as caught:
        operator_verilog("leading-4", 4, 3, "x")
    assert str(caught.value) == (
        "multiplier: 3 problems\n"
        "  signed: 'x' is not one of weight, none, both\n"
        "  weight_bits: 4 bits are too few for it: at least 5\n    do: take wider operands\n"
        "  x_bits: 3 bits are too few for it: at least 5\n    do: take wider operands"
    )
    with pytest.raises(OptionError, match="'truncate' is none of our own\n    do: choose one of SPELLED, or exact"):
        operator_verilog("truncate", 8, 8)


def test_what_leaves_more_out_is_smaller_and_worse():
    names = ("truncated-0", "truncated-4", "broken-array-4-1")
    areas = [synthesise(operator_verilog(name, 8, 4), "multiplier", "egfet").area() for name in names]
    assert areas == sorted(areas, reverse=True)
    errors = [error_figures(own_operator(name).table(8, 4)).mean_distance for name in names]
    assert errors == sorted(errors)
