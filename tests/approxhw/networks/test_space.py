"""Genomes: bounds, the way to a Graph and back, and what has no effect."""

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import PassError
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Relu, Requantize
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.space import canonical, decode_genome, encode_genome, make_space, space_of

SHAPES = [((5, 3), None), ((7, 4, 5), None), ((6, 5, 4, 3), None), ((9, 4, 1), 0), ((9, 4, 1), -12), ((4, 1), 5)]


def test_the_layout_of_a_small_network():
    space = make_space((3, 2, 2), input_bits=4, exponent=7, hidden_bits=8)
    assert space.layout.tolist() == [[3, 2, 4, 0, 6, 12, 18, 20, 8], [2, 2, 8, 21, 25, 29, 33, -1, 0]]
    assert space.head.tolist() == [0, 35, 18]  # biases and sums of ±65280 each: 18 bits
    assert space.genes == len(space.upper) == 36
    assert (space.features, space.classes) == (3, 2)
    assert space.upper[[0, 6, 12, 18, 20, 21, 35]].tolist() == [15, 1, 7, 5760, 12, 255, (1 << 18) - 1]
    assert space.lower[[0, 6, 12, 18, 20, 21, 35]].tolist() == [0, 0, 0, -5760, 0, 0, 0]
    assert space.lower.dtype == space.upper.dtype == np.int32
    threshold = make_space((3, 1), threshold=True)
    assert threshold.head.tolist() == [1, -1, 15]
    assert (threshold.classes, threshold.genes) == (2, 10)
    assert threshold.comparators(np.zeros((4, 10), np.int32)).shape == (4, 0)


@pytest.mark.parametrize(("sizes", "threshold"), SHAPES)
def test_decode_and_encode_are_inverse(sizes, threshold, networks):
    rng = np.random.default_rng(len(sizes))
    graph = networks.graph(sizes, threshold=threshold)
    space = space_of(graph)
    for genome in networks.genomes(space, 20, rng, bias=0.5):
        decoded = decode_genome(space, genome, graph)
        verify(decoded)
        assert [node.name for node in decoded.nodes] == [node.name for node in graph.nodes]
        assert parse_graph(print_graph(decoded)) == decoded
        back = encode_genome(space, decoded)
        assert back.dtype == np.int32
        summands = genome.copy()  # sign and exponent of a summand that is not there are not in the Graph
        for layer in range(len(space.layers)):
            genes = space.layer_genes(summands[None], layer)
            genes.signs[genes.masks == 0] = 0
            genes.exponents[genes.masks == 0] = 0
        assert back.tolist() == summands.tolist()
        assert decode_genome(space, back, decoded) == decoded


@pytest.mark.parametrize(("sizes", "threshold"), SHAPES)
def test_a_space_made_from_sizes_equals_the_one_of_a_graph(sizes, threshold, networks):
    of_graph = space_of(networks.graph(sizes, threshold=threshold and 0))
    of_sizes = make_space(sizes, threshold=threshold is not None)
    for part in ("layout", "head", "lower", "upper"):
        assert getattr(of_graph, part).tolist() == getattr(of_sizes, part).tolist()


def test_weight_0_and_mask_0_are_the_same(networks):
    graph = networks.graph((2, 2))
    by_weight = parse_graph(print_graph(graph).replace('w0 : u1[2,2] = constant {"data":[[1,1],[1,1]]}', W0))
    by_mask = parse_graph(print_graph(graph).replace('{"data":[[15,15],[15,15]]}', '{"data":[[15,0],[15,15]]}'))
    assert graph not in (by_weight, by_mask)
    space = space_of(graph)
    assert (
        encode_genome(space, by_weight).tolist()
        == encode_genome(space, by_mask).tolist()
        != encode_genome(space, graph).tolist()
    )
    decoded = decode_genome(space, encode_genome(space, by_weight), graph)
    assert decoded.constant("w0").tolist() == [[1, 0], [1, 1]]
    assert decoded.constant("m0").tolist() == [[15, 0], [15, 15]]


W0 = 'w0 : u1[2,2] = constant {"data":[[1,0],[1,1]]}'


def test_biases_and_shifts_of_the_graph_lie_within_the_bounds(networks):
    graph = networks.graph((3, 2, 2), biases=100_000, shift=30)
    space = space_of(graph)
    genome = encode_genome(space, graph)
    assert genome[18:21].tolist() == [100_000, 100_000, 30]
    assert (genome <= space.upper).all()
    assert (genome >= space.lower).all()


def test_comparators_of_a_narrower_word_keep_their_meaning(networks):
    """The Graph compares 8 bits, the space more: the sign moves, the winners do not."""
    rng = np.random.default_rng(2)
    graph = networks.graph((3, 2, 5), exponent=1, hidden_bits=3, input_bits=3)
    seen = ((7,), (0, 3, 7), tuple(range(8)), (2, 4, 6))
    narrow = replace(graph["c"], op=ArgMax(8, seen))
    graph = replace(graph, nodes=tuple(narrow if node.name == "c" else node for node in graph.nodes))
    wide = space_of(networks.graph((3, 2, 5), exponent=1, hidden_bits=3, input_bits=3, biases=300))
    own = space_of(graph)
    assert wide.width > own.width >= 8
    genome = encode_genome(own, graph)
    rows = rng.integers(0, 8, (200, 3))
    for space in (own, wide):
        genomes = networks.genomes(own, 30, rng, bias=1 / 3)
        own.comparators(genomes)[:] = own.comparators(genome[None])
        reference = np.array([run(decode_genome(own, genes, graph), rows) for genes in genomes])
        moved = np.zeros((30, space.genes), dtype=np.int32)
        for genes, decoded in zip(moved, (decode_genome(own, genes, graph) for genes in genomes)):
            genes[:] = encode_genome(space, decoded)
        assert np.array_equal(classes_of(space.layout, space.head, moved, rows), reference)
    assert len(np.unique(reference)) > 1


def test_canonical_genomes_mean_the_same_and_hold_nothing_idle(networks):
    rng = np.random.default_rng(3)
    space = make_space((6, 5, 4, 3))
    genomes = networks.genomes(space, 60, rng, empty=0.8)
    before = genomes.copy()
    tidy = canonical(space, genomes)
    assert np.array_equal(genomes, before)
    codes, _ = networks.rows(space, 100, rng)
    assert np.array_equal(
        classes_of(space.layout, space.head, tidy, codes), classes_of(space.layout, space.head, genomes, codes)
    )
    assert np.array_equal(canonical(space, tidy), tidy)
    for layer in range(3):
        genes = space.layer_genes(tidy, layer)
        assert not genes.signs[genes.masks == 0].any()
        assert not genes.exponents[genes.masks == 0].any()
        if layer < 2:
            unread = ~space.layer_genes(tidy, layer + 1).masks.any(axis=1)
            assert unread.any()
            assert not genes.masks[unread].any()
            assert not genes.biases[unread].any()


def test_graphs_of_another_form_are_refused_with_every_reason(networks):
    graph = networks.graph((3, 2, 2))
    relu = replace(graph["h0"], op=Relu())
    other = replace(graph, nodes=tuple(relu if node.name == "h0" else node for node in graph.nodes))
    with pytest.raises(PassError) as caught:
        space_of(other)
    assert str(caught.value) == (
        "genetic search on masked: 2 problems\n"
        "  h0: relu has no place between the layers of a masked network\n"
        "    do: run power-of-two (and qrelu) before\n"
        "  s1: it reads s0 without a QReLU between them\n"
        "    do: run power-of-two (and qrelu) before"
    )
    rounded = replace(graph["h0"], op=Requantize((1,), 4, (8,), 0, 255))
    other = replace(graph, nodes=tuple(rounded if node.name == "h0" else node for node in graph.nodes))
    with pytest.raises(PassError, match=r"h0: it is no QReLU: multiplier 1, offset 0, from 0 to 2\^n − 1"):
        space_of(other)
    with pytest.raises(PassError, match=r"its layers are \[\(3, 2, 4, 8\), \(2, 2, 8, 0\)\], those of the search are"):
        encode_genome(make_space((3, 4, 2)), graph)
    far = networks.graph((3, 2, 2), biases=10**6)
    with pytest.raises(PassError, match=r"4 genes lie outside .* gene 18: 1000000 is not in -5760…5760"):
        encode_genome(make_space((3, 2, 2)), far)
    with pytest.raises(PassError, match="sums may need 33 bits; comparators look at 31 at most"):
        space_of(networks.graph((3, 2, 2), biases=2**31 - 1))
