"""The area model: cells counted as the builder makes them, functions taken apart rightly, areas as synthesis has them."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from circuit_reference import Reference, masked_graph, random_genomes

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.estimate import synthesise
from approxhw.common.errors import OptionError
from approxhw.ir.graph import Graph
from approxhw.networks import area_model as cost
from approxhw.networks.area_model import (
    FEATURES,
    AreaModel,
    calibrate,
    default_model,
    features,
    full_adders_date24,
    measured_model,
)
from approxhw.networks.kernels.area import adders, gates
from approxhw.networks.kernels.area.functions import take_apart
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.space import Space, decode_genome, space_of

SHAPES = [
    ((4, 2), {}),
    ((3, 5), {"bits": 3}),
    ((5, 1), {"threshold": True}),
    ((4, 3, 2), {}),
    ((5, 2, 4), {"hidden": 5}),
    ((3, 4, 1), {"threshold": True, "bits": 2}),
    ((3, 4, 3, 3), {"hidden": 6}),
    ((2, 3, 2, 1), {"threshold": True, "hidden": 3}),
    ((6, 3, 7), {"bits": 1}),
]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "chosen bits"])
@pytest.mark.parametrize(("sizes", "options"), SHAPES, ids=[f"{'-'.join(map(str, s))}" for s, _ in SHAPES])
def test_counts_are_those_of_the_built_circuit(sizes, options, exact):
    graph = masked_graph(sizes, **options)
    space = space_of(graph)
    genomes = np.concatenate([random_genomes(space, 16, seed, reach) for seed, reach in enumerate((3, 60, 1000))])
    if exact:
        space.comparators(genomes)[:] = (1 << space.width) - 1
    counted = features(space.layout, space.head, genomes, by_name=True)
    compared = cells = 0
    for genome, row in zip(genomes, counted):
        reference = Reference()
        expected = reference.count(build_circuit(decode_genome(space, genome, graph)))
        if reference.constants:
            assert row.sum() <= expected.sum() + 5
            continue
        compared += 1
        cells += expected[:13].sum()
        assert dict(zip(FEATURES, row.tolist())) == dict(zip(FEATURES, expected.tolist()))
    assert compared >= 20
    assert cells > 50


@numba.njit
def _taken_apart(net, tables, inputs, results):
    pointer = net.ctypes
    free = (gates.FIRST + 1 + inputs) >> 1 << 1
    for k in range(tables.shape[0]):
        spare = net[gates.SPARE]
        at = gates.row(pointer, spare)
        for word in range(net[gates.WORDS]):
            net[at + word] = tables[k, word]
        every = (1 << inputs) - 1
        literal, free, budget = take_apart(pointer, free, every, at, spare + 1, 1 << 20)
        results[k] = literal if budget >= 0 else -1
    return free


@pytest.mark.parametrize("inputs", [1, 3, 6, 7, 9])
def test_functions_taken_apart_are_those_of_their_tables(inputs):
    space = space_of(masked_graph((4, 3, 2)))
    net = adders.scratch(space.layout, space.head)[0]
    words = 1 << max(0, inputs - 6)
    net[gates.WORDS], net[gates.STRIDE], net[gates.GENOME] = words, words + 4, 7
    stride, rows = words + 4, net[gates.ROWS]
    index = np.arange(64 * words)
    bits = [(index >> k & 1).astype(bool) for k in range(inputs)]

    def packed(values):
        return np.packbits(values.reshape(-1, 64), axis=1, bitorder="little").view(np.int64).reshape(-1)

    net[rows : rows + words] = 0
    for k, bit in enumerate(bits):
        at = rows + (gates.FIRST + k) * stride
        net[at : at + words] = packed(bit)
    rng = np.random.default_rng(inputs)
    chosen = [bits[int(rng.integers(inputs))] for _ in range(3)]
    period = 1 << min(inputs, 6)
    noise = [np.resize(rng.random(period << max(0, inputs - 6)) < p, 64 * words) for p in (0.1, 0.5, 0.9)]
    wanted = [
        np.zeros_like(bits[0]),
        ~bits[0],
        chosen[0] & chosen[1] | chosen[2],
        np.logical_xor.reduce(bits),
        sum(bit.astype(int) for bit in bits) > inputs / 2,
        sum((1 + k % 4) * bit.astype(int) for k, bit in enumerate(bits)) > inputs,
        *noise,
    ]
    tables = np.array([packed(table) for table in wanted])
    results = np.zeros(len(wanted), np.int64)
    free = _taken_apart(net, tables, inputs, results)
    assert free > gates.FIRST + inputs or inputs == 1
    for literal, table in zip(results.tolist(), tables):
        at = rows + (literal >> 1) * stride
        # the row of a variable holds what the gates make of the inputs, not what was wanted
        np.testing.assert_array_equal(net[at : at + words] ^ -(literal & 1), table)


def _one_input_classes(
    mask: int, exponent: int, biases: tuple[int, int], negative: bool = False
) -> tuple[Graph, Space, np.ndarray]:
    graph = masked_graph((2, 2))
    space = space_of(graph)
    genome = np.zeros((1, space.genes), np.int32)
    genes = space.layer_genes(genome, 0)
    genes.masks[0, 1, 0], genes.exponents[0, 1, 0], genes.signs[0, 1, 0] = mask, exponent, negative
    genes.biases[0] = biases
    space.comparators(genome)[:] = (1 << space.width) - 1
    return graph, space, genome


@pytest.mark.parametrize(
    ("mask", "biases", "negative", "area"),
    [
        (0b1000, (0, 0), False, 0.0),  # a wire
        (0b1000, (0, 1), True, 0.22842),  # an inverter
        (0b0110, (5, 0), False, 0.4335),  # both bits: AND
        (0b0000, (3, 5), False, 0.0),  # always class 1
        (0b1111, (16, 0), False, 0.0),  # never
    ],
)
def test_a_gate_is_priced_as_it_is_synthesised(mask, biases, negative, area):
    graph, space, genome = _one_input_classes(mask, 0, biases, negative)
    emitted = emit(build_circuit(decode_genome(space, genome[0], graph)))
    assert synthesise(emitted.verilog, emitted.top, "egfet").area() == pytest.approx(area)
    assert default_model().area_mm2(space.layout, space.head, genome)[0] == pytest.approx(area)


def _bits_read(space: Space, genome: np.ndarray) -> list[tuple[int, int]]:
    """The input bits that a neuron with a reader has in its masks, (input, position)."""
    first = space.layer_genes(genome[None], 0).masks[0]
    if len(space.layers) > 1:
        first = first[(space.layer_genes(genome[None], 1).masks[0] != 0).any(axis=0)]
    union = np.bitwise_or.reduce(first, axis=0, initial=0).tolist()
    return [(i, p) for i, mask in enumerate(union) for p in range(16) if mask >> p & 1]


def _priced(space: Space, genome: np.ndarray, most: int) -> tuple[float, tuple[np.ndarray, ...]]:
    scratch, row = adders.scratch(space.layout, space.head, most), np.zeros((1, len(FEATURES)))
    adders.count(space.layout, space.head, genome[None], *scratch, row)
    return float(row[0] @ np.array(default_model().coefficients)), scratch


@pytest.mark.parametrize(("sizes", "options"), [SHAPES[0], SHAPES[1], SHAPES[3], SHAPES[5], SHAPES[8]])
def test_what_is_counted_computes_the_class(sizes, options):
    space = space_of(masked_graph(sizes, **options))
    genomes = np.concatenate([random_genomes(space, 40, seed, reach) for seed, reach in enumerate((4, 30, 300))])
    looked_at = priced = 0
    for genome in genomes:
        bits = _bits_read(space, genome)
        if len(bits) > 12:
            continue
        price, (net, words, *_) = _priced(space, genome, adders.MOST)
        codes = np.zeros((1 << len(bits), space.features), np.int16)
        for k, (i, p) in enumerate(bits):
            codes[:, i] |= (np.arange(len(codes), dtype=np.int16) >> k & 1) << p
        classes = classes_of(space.layout, space.head, genome[None], codes)[0]
        priced += price > 0
        if price == 0:  # wires, or always the same
            continue
        looked_at += 1
        for place in range(max(1, (space.classes - 1).bit_length())):
            literal = int(words[len(space.layers) + 2].reshape(-1)[place])
            at = net[gates.ROWS] + (literal >> 1) * net[gates.STRIDE]
            row = net[at : at + net[gates.WORDS]] ^ -(literal & 1)
            seen = np.unpackbits(row.view(np.uint8), bitorder="little")[: len(codes)]
            np.testing.assert_array_equal(seen if literal > 1 else literal, classes >> place & 1)
    assert looked_at >= 15


def test_counting_by_parts_is_as_sound_as_counting_the_whole():
    # 13 to 15 bits: too many for the patterns of one part, but not for 512 words
    space = space_of(masked_graph((5, 4, 3)))
    genomes = np.concatenate([random_genomes(space, 400, seed, 20) for seed in range(4)])
    hidden = space.layer_genes(genomes, 0)
    rng = np.random.default_rng(4)
    hidden.masks[:] &= rng.integers(0, 16, hidden.masks.shape) & rng.integers(0, 16, hidden.masks.shape)
    compared, cheaper = [], 0
    for genome in genomes:
        if not 13 <= len(_bits_read(space, genome)) <= 15:
            continue
        whole, _ = _priced(space, genome, 512)
        parts, _ = _priced(space, genome, adders.MOST)
        named, _ = _priced(space, genome, 0)
        if whole > 0:
            compared.append(parts / whole)
            cheaper += parts < 0.95 * named
    assert len(compared) >= 60
    assert cheaper >= 20
    assert min(compared) > 0.6
    assert np.quantile(compared, 0.05) > 0.8
    assert np.median(compared) < 2


def test_what_nothing_reads_is_free():
    space = space_of(masked_graph((5, 3, 3)))
    genomes = random_genomes(space, 40, 5, 100)
    hidden, last = space.layer_genes(genomes, 0), space.layer_genes(genomes, 1)
    hidden.masks[:, 0] = 15
    last.masks[:, :, 0] = 0  # nobody reads neuron 0
    before = features(space.layout, space.head, genomes)
    assert before.sum() > 500
    hidden.masks[:, 0], hidden.biases[:, 0] = 0, 0
    np.testing.assert_array_equal(features(space.layout, space.head, genomes), before)
    # a shift past every bit makes hidden neurons 0, and what reads them a constant
    hidden.shift[:] = space.upper[space.layout[0, 7]]
    assert features(space.layout, space.head, genomes).sum() == 0


def test_taking_apart_never_costs_more_and_saves_much_on_small_circuits():
    space = space_of(masked_graph((5, 3, 3)))
    genomes = random_genomes(space, 200, 11, 60)
    prices = np.array(default_model().coefficients)
    named = features(space.layout, space.head, genomes, by_name=True) @ prices
    apart = features(space.layout, space.head, genomes) @ prices
    assert (apart <= named + 1e-9).all()
    small = (named > 0) & (named < 40)
    assert small.sum() > 20
    assert np.median(apart[small] / named[small]) < 0.8


def test_a_row_does_not_depend_on_the_others():
    space = space_of(masked_graph((6, 4, 5)))
    genomes = random_genomes(space, 60, 3)
    together = features(space.layout, space.head, genomes)
    backwards = features(space.layout, space.head, genomes[::-1])[::-1]
    alone = np.concatenate([features(space.layout, space.head, genome[None]) for genome in genomes])
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together, alone)
    assert features(space.layout, space.head, genomes[:0]).shape == (0, len(FEATURES))


def test_arrays_that_may_not_be_written_will_do():
    space = space_of(masked_graph((3, 2)))
    genomes = random_genomes(space, 4, 1)
    expected = features(space.layout, space.head, genomes)
    for array in (genomes, layout := space.layout.copy(), head := space.head.copy()):
        array.flags.writeable = False
    np.testing.assert_array_equal(features(layout, head, genomes), expected)


def test_genes_that_there_is_no_room_for_are_refused():
    space = space_of(masked_graph((3, 2, 2)))
    genomes = random_genomes(space, 4, 1)
    space.layer_genes(genomes, 0).exponents[1, 0, 0] = 99
    space.layer_genes(genomes, 1).masks[2, 0, 1] = -1
    with pytest.raises(OptionError) as error:
        features(space.layout, space.head, genomes)
    text = str(error.value)
    assert "area model: 2 problems" in text
    assert "genomes, layer 0: exponents from 0 to 99 do not lie in 0…31" in text
    assert "genomes, layer 1: masks from -1 to" in text
    with pytest.raises(OptionError, match=r"the layout needs \d+ genes a row"):
        features(space.layout, space.head, genomes[:, :-1])


# The model ------------------------------------------------------------------------------------------------------------


def test_prices_are_those_of_cells_synthesised_alone():
    model = measured_model("egfet", lambda text, top: synthesise(text, top, "egfet").area())
    assert model.coefficients == pytest.approx(default_model("egfet").coefficients, rel=1e-5)
    assert model.library == "egfet"


def test_a_library_without_a_table_is_refused_by_name():
    with pytest.raises(OptionError) as error:
        default_model("gf180\x1b[31m")
    text = str(error.value)
    assert "'gf180�[31m' has no table of cells; there are egfet, egfet_1v0, egfet_0v6, sky130" in text
    assert "measured_model(library, area_of)" in text


def test_calibrating_finds_prices_that_explain_the_areas():
    space = space_of(masked_graph((6, 4, 5)))
    genomes = random_genomes(space, 300, 7)
    true = AreaModel(
        tuple(price * factor for price, factor in zip(default_model().coefficients, [0.8, 0.9] * 8)), "egfet"
    )
    areas = true.area_mm2(space.layout, space.head, genomes)
    found = calibrate(space.layout, space.head, genomes[:200], areas[:200], default_model())
    off = np.abs(found.area_mm2(space.layout, space.head, genomes[200:]) / np.maximum(areas[200:], 1e-9) - 1)
    assert np.median(off[areas[200:] > 0]) < 0.02
    assert found == calibrate(space.layout, space.head, genomes[:200], areas[:200], default_model())
    assert min(found.coefficients) >= 0


def test_calibrating_on_little_keeps_to_the_scaled_prices():
    space = space_of(masked_graph((6, 4, 5)))
    genomes = random_genomes(space, 40, 7)
    areas = 0.7 * default_model().area_mm2(space.layout, space.head, genomes)
    one = np.flatnonzero(areas)[:1]
    found = calibrate(space.layout, space.head, genomes[one], areas[one], default_model())
    assert found.coefficients == pytest.approx(tuple(0.7 * p for p in default_model().coefficients), rel=1e-4)
    nothing = calibrate(space.layout, space.head, genomes[one], np.zeros(1), default_model())
    assert nothing == default_model()


@pytest.mark.parametrize("areas", [np.zeros(3), np.array([1.0, np.nan]), np.array([1.0, -1.0])])
def test_areas_that_do_not_fit_are_refused(areas):
    space = space_of(masked_graph((3, 2)))
    with pytest.raises(OptionError, match="one finite area ≥ 0 a genome is needed"):
        calibrate(space.layout, space.head, random_genomes(space, 2, 1), areas, default_model())


def _full_adders(layout: np.ndarray, genome: list[int]) -> int:
    found = 0
    for n, m, bits, masks, signs, exponents, biases, _, _ in layout.tolist():
        for o in range(m):
            for sign in (0, 1):
                bias = genome[biases + o] * (1 - 2 * sign)
                columns = [max(bias, 0) >> c & 1 for c in range(80)]
                for place in range(o * n, o * n + n):
                    for bit in range(bits):
                        if genome[signs + place] == sign and genome[masks + place] >> bit & 1:
                            columns[bit + genome[exponents + place]] += 1
                for c in range(79):
                    while columns[c] >= 3:
                        columns[c], columns[c + 1], found = columns[c] - 2, columns[c + 1] + 1, found + 1
    return found


def test_published_full_adders_are_counted_as_published():
    for sizes in ((4, 3), (6, 3, 4), (3, 4, 3, 2)):
        space = space_of(masked_graph(sizes))
        genomes = random_genomes(space, 30, len(sizes), 4000)
        expected = [_full_adders(space.layout, genome) for genome in genomes.tolist()]
        assert sum(expected) > 80
        assert full_adders_date24(space.layout, genomes).tolist() == expected


@pytest.mark.slow
def test_the_estimate_ranks_like_synthesis_and_calibration_brings_it_closer():
    graph = masked_graph((5, 3, 3))
    space = space_of(graph)
    genomes = random_genomes(space, 200, 21, 200)
    codes = np.random.default_rng(0).integers(0, 16, (1000, 5)).astype(np.int16)
    classes = classes_of(space.layout, space.head, genomes, codes)
    # as a search meets them: circuits that always say the same are of no use to it
    genomes = genomes[[np.bincount(row.astype(int)).max() < 980 for row in classes]][:32]
    assert len(genomes) == 32
    areas = []
    for genome in genomes:
        emitted = emit(build_circuit(decode_genome(space, genome, graph)))
        areas.append(synthesise(emitted.verilog, emitted.top, "egfet").area())
    areas, estimates = np.array(areas), default_model().area_mm2(space.layout, space.head, genomes)
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (areas, estimates)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95
    found = calibrate(space.layout, space.head, genomes[::2], areas[::2], default_model())
    closer = found.area_mm2(space.layout, space.head, genomes[1::2])
    off = [np.median(np.abs(np.log(values / areas[1::2]))) for values in (estimates[1::2], closer)]
    assert off[1] < 0.95 * off[0]
    assert off[1] < 0.25


def test_the_kernel_and_the_model_name_the_same_features():
    assert len(FEATURES) == adders.FEATURES == len(adders.PRICES)
    assert set(cost.ALONE) == set(FEATURES)
    np.testing.assert_allclose(adders.PRICES, default_model("egfet").coefficients, rtol=3e-3)
