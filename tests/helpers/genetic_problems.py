"""Masked networks made by hand, random genomes, rows and labels."""

import functools
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from approxhw.dse.genetic.problem import NetworkProblem as Problem
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Input, Requantize, Threshold, Type
from approxhw.ir.rewriting import code_constant
from approxhw.ir.verifier import verify
from approxhw.networks.area_model import default_model
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.space import decode_genome, make_space, space_of
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo


def masked_graph(sizes, *, input_bits=4, exponent=7, hidden_bits=8, threshold=None, biases=0, shift=4):
    """A verified Graph of the masked form, all masks full and all weights 1."""
    n = sizes[0]
    names = tuple(f"f{i}" for i in range(n))
    encoding = Encoding(input_bits, "round", (0.0,) * n, (1.0,) * n)
    nodes = [Node("x", Input(names, names, encoding), (), Type((n,), Fixed(input_bits)))]
    last, bits = "x", input_bits
    for i, (n, m) in enumerate(pairwise(sizes)):
        nodes.append(code_constant(f"w{i}", np.ones((m, n), dtype=np.int64)))
        nodes.append(code_constant(f"b{i}", np.full(m, biases)))
        nodes.append(Node(f"m{i}", Constant(np.full((m, n), (1 << bits) - 1)), (), Type((m, n), Fixed(bits))))
        inputs = (last, f"w{i}", f"b{i}", f"m{i}")
        nodes.append(Node(f"s{i}", Dense(MaskedPowerOfTwo(exponent)), inputs, Type((m,), Fixed(64, True))))
        last = f"s{i}"
        if i < len(sizes) - 2:
            op = Requantize((1,), shift, (0,), 0, (1 << hidden_bits) - 1)
            nodes.append(Node(f"h{i}", op, (last,), Type((m,), Fixed(hidden_bits))))
            last, bits = f"h{i}", hidden_bits
    op = ArgMax() if threshold is None else Threshold(threshold)
    width = max(1, (sizes[-1] - 1).bit_length()) if threshold is None else 1
    graph = Graph("masked", (*nodes, Node("c", op, (last,), Type((), Fixed(width)))), "c")
    verify(graph)
    return graph


def random_genomes(space, count, rng, *, empty=0.3, bias=1 / 16, exact=0.3):
    """Genomes as a search meets them: masks of all densities, biases of the size of sums, some exact comparators."""
    upper = space.upper.astype(np.int64)
    genomes = rng.integers(space.lower, upper + 1, (count, space.genes))
    for index in range(len(space.layers)):
        genes = space.layer_genes(genomes, index)
        genes.masks[rng.random(genes.masks.shape) < empty] = 0
        genes.biases[:] = np.round(genes.biases * bias)
    seen = space.comparators(genomes)
    seen[rng.random(seen.shape) < exact] = (1 << space.width) - 1
    seen[rng.random(count) < exact] = (1 << space.width) - 1
    return genomes.astype(np.int32)


def rows_of(space, count, rng):
    """Codes and labels."""
    first = space.layers[0]
    return rng.integers(0, 1 << first.input_bits, (count, first.inputs)), rng.integers(0, space.classes, count)


@pytest.fixture
def networks():
    """The helpers of this file."""
    return SimpleNamespace(
        graph=masked_graph,
        genomes=random_genomes,
        rows=rows_of,
        make=make_space,
        space_of=space_of,
        decode=decode_genome,
    )


def search_problem(sizes=(5, 3, 3), rows=240, seed=3, reference_errors=20, starts=True):
    """A problem for the search: labels are what a random network says, a tenth of them changed; that network is the start."""
    rng = np.random.default_rng(seed)
    space = make_space(sizes)
    some = random_genomes(space, 60, rng, empty=0.2, bias=1 / 64, exact=1.0)
    codes = rng.integers(0, 16, (rows, sizes[0]))
    classes = classes_of(space.layout, space.head, some, codes)
    even = np.argmin([np.bincount(row, minlength=space.classes).max() for row in classes])
    labels = np.where(rng.random(rows) < 0.1, rng.integers(0, space.classes, rows), classes[even])
    area = functools.partial(default_model().area_mm2, space.layout, space.head)
    start = some[even : even + 1] if starts else some[:0]
    return Problem(space, codes, labels, reference_errors, area, start, "a random network")


@pytest.fixture
def make_problem():
    """Make a problem for the search."""
    return search_problem
