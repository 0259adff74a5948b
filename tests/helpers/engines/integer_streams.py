"""Random products on an integer engine as jobs for the bench of streams, and the tables of its operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.backends.integer_engine.constants import ColumnConstants, column_constants
from approxhw.backends.integer_engine.engine import TOP, IntegerArray, integer_engine_verilog
from approxhw.backends.integer_engine.words import (
    integer_activation_words,
    integer_result_words,
    integer_weight_words,
    padding_of,
)
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.numerics.exact.fixed_point import fixed_point_multiplier
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products
from approxhw.numerics.multipliers.families import own_operator
from approxhw.sim.streams import Disturbance, Stream, StreamJob


def products_of(mac: IntegerMac) -> np.ndarray:
    """Return the table of the operator of *mac*, exact or one of our own, by bit patterns."""
    operator = own_operator(mac.operator)
    found = exact_products(mac) if operator is None else operator.table(mac.weight_bits, mac.x_bits, mac.signed)
    return found.products


def random_constants(engine: IntegerArray, depth: int, columns: int, source: np.random.Generator) -> ColumnConstants:
    """Return constants of which no two columns have the same, for sums of *depth* products: most codes are within limits."""
    factors = source.uniform(0.2, 3.0, columns) / depth / (1 << (engine.mac.weight_bits + engine.mac.x_bits - 9))
    pairs = np.array([fixed_point_multiplier(Fraction(float(each))) for each in factors])
    coefficient = source.integers(-300, 300, columns) if engine.variate else 0
    return column_constants(
        columns,
        bias=source.integers(-999, 999, columns),
        coefficient=coefficient,
        multiplier=pairs[:, 0],
        shift=pairs[:, 1],
        zero=source.integers(-30, 30, columns),
        low=source.integers(-120, -60, columns),
        high=source.integers(60, 120, columns),
        unit=source.integers(0, len(engine.units) + 1, columns) if engine.unit_bits else 0,
    )


def integer_job(
    engine: IntegerArray,
    sizes: tuple[int, int, int],
    *,
    seed: int = 1,
    operator: str | None = None,
    table: np.ndarray | None = None,
    **disturbance: object,
) -> StreamJob:
    """Return the product of two random matrices (m, k, n) on *engine*, with *operator* chosen, its *table* or our own."""
    source = np.random.default_rng(seed)
    m, k, n = sizes
    name = operator or engine.mac.operator
    chosen = replace(engine, mac=engine.mac_of(name))
    products = products_of(chosen.mac) if table is None else table
    x = source.integers(0, 1 << engine.mac.x_bits, (m, k)).astype(np.uint8)
    weights = source.integers(0, 1 << engine.mac.weight_bits, (k, n)).astype(np.uint8)
    constants = random_constants(engine, k, n, source)
    schedule = make_schedule(engine, m, k, n)
    filling = padding_of(chosen.mac, products)
    weight_words, weight_ends = integer_weight_words(engine, schedule, weights, constants, filling)
    words, ends, user = integer_activation_words(engine, schedule, x, filling)
    results, result_ends = integer_result_words(chosen, schedule, x, weights, constants, products)
    held: Mapping[str, int] = {"select": engine.select(name)}
    return StreamJob(
        f"{chosen.mac} {engine.rows}x{engine.columns}",
        integer_engine_verilog(engine),
        TOP,
        (
            Stream("s_axis_weights", engine.weight_word_bits, weight_words, weight_ends),
            Stream("s_axis_activations", engine.activation_word_bits, words, ends, user),
        ),
        Stream("m_axis_results", engine.columns * engine.result_bits, results, result_ends),
        Disturbance(**disturbance),
        watch="fault",
        held=held,
    )
