"""The population kernel equals the interpreter on every network, row and way (int16, int32, int64)."""

import numpy as np
import pytest

from approxhw.ir.interpreter import run
from approxhw.ir.verifier import verify
from approxhw.networks.kernels import masked_network
from approxhw.networks.kernels.masked_network import classes_of, count_errors, pack_rows

SHAPES = [
    {"sizes": (5, 3), "exponent": 7},
    {"sizes": (7, 4, 5), "exponent": 7},
    {"sizes": (16, 5, 10), "exponent": 7},
    {"sizes": (3, 9, 2), "exponent": 3, "hidden_bits": 3},
    {"sizes": (6, 5, 4, 7), "exponent": 5},
    {"sizes": (4, 1), "exponent": 7, "threshold": 0},
    {"sizes": (9, 4, 1), "exponent": 7, "threshold": -37},
    {"sizes": (5, 3, 2, 1), "exponent": 2, "threshold": 3},
    {"sizes": (3, 2, 3), "exponent": 12, "input_bits": 8, "hidden_bits": 11},  # int32 and, where masks are full, more
    {"sizes": (3, 2, 3), "exponent": 4, "input_bits": 16, "hidden_bits": 16},  # no int16 code
    {"sizes": (2, 3, 1), "exponent": 20, "threshold": 0, "input_bits": 4, "hidden_bits": 2},  # no int16 weight
]


def interpreted(space, genomes, graph, codes, decode):
    classes = []
    for genome in genomes:
        decoded = decode(space, genome, graph)
        verify(decoded)
        classes.append(run(decoded, codes).reshape(-1))
    return np.array(classes)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape["sizes"])))
def test_kernel_and_interpreter_agree(shape, networks):
    rng = np.random.default_rng(sum(shape["sizes"]))
    graph = networks.graph(**shape)
    space = networks.space_of(graph)
    genomes = networks.genomes(space, 24, rng, bias=rng.choice([1 / 64, 1 / 8, 1.0]))
    codes, labels = networks.rows(space, 300, rng)
    expected = interpreted(space, genomes, graph, codes, networks.decode)
    assert len(np.unique(expected)) > 1
    assert np.array_equal(classes_of(space.layout, space.head, genomes, codes), expected)
    errors = count_errors(space.layout, space.head, genomes, codes, labels)
    assert errors.tolist() == (expected != labels).sum(axis=1).tolist()
    assert errors.dtype == np.int64
    assert errors.sum() > 0


@pytest.mark.parametrize("bias", [32767, 32768, -32768, -32769, 2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_sums_at_the_ends_of_int16_and_int32(bias, sign, networks):
    """One more than a type holds must take the next wider one: the sum of the full row is *bias* then."""
    space = networks.make((4, 2, 2))
    genomes = np.zeros((1, space.genes), dtype=np.int32)
    hidden, outputs = (space.layer_genes(genomes, layer) for layer in (0, 1))
    hidden.masks[:], hidden.signs[:], hidden.exponents[:] = 15, sign, 7
    reach = 4 * 15 * 128 * (-1 if sign else 1)
    hidden.biases[0] = [np.clip(bias - reach, -(2**31), 2**31 - 1), 5]
    hidden.shift[0] = 8
    outputs.masks[:], outputs.exponents[:] = 255, [[7, 6], [6, 7]]
    outputs.biases[0] = [np.clip(bias, -(2**31), 2**31 - 1), np.clip(bias - 1000, -(2**31), 2**31 - 1)]
    space.comparators(genomes)[:] = (1 << space.width) - 1
    codes = np.array([[15] * 4, [0] * 4, [15, 15, 15, 14], [7] * 4])

    def classes(row):
        sums = [int(b) + sum((int(x) << 7) * (-1 if sign else 1) for x in row) for b in hidden.biases[0]]
        h = [min(max(s >> 8, 0), 255) for s in sums]
        y = [int(b) + (h[0] << k0) + (h[1] << k1) for b, k0, k1 in zip(outputs.biases[0], (7, 6), (6, 7))]
        flip, mask = 1 << (space.width - 1), (1 << space.width) - 1
        return int(((y[1] ^ flip) & mask) > ((y[0] ^ flip) & mask)) if bias >= 1 << 20 else int(y[1] > y[0])

    if abs(bias) < 1 << 20:
        assert classes_of(space.layout, space.head, genomes, codes)[0].tolist() == [classes(row) for row in codes]
    else:  # the widest sums do not fit comparators of this space: only the hidden layer is compared
        outputs.biases[0] = [0, 300]
        assert classes_of(space.layout, space.head, genomes, codes)[0].tolist() == [
            int(300 + (h1 << 7) + (h0 << 6) > (h0 << 7) + (h1 << 6))
            for h0, h1 in (
                [
                    min(max((int(b) + sum((int(x) << 7) * (-1 if sign else 1) for x in row)) >> 8, 0), 255)
                    for b in hidden.biases[0]
                ]
                for row in codes
            )
        ]


@pytest.mark.parametrize("rows", [1, 15, 1023, 1024, 1025, 3000])
def test_blocks_of_rows_and_threads_change_nothing(rows, networks):
    rng = np.random.default_rng(rows)
    space = networks.make((6, 4, 5))
    genomes = networks.genomes(space, 7, rng)
    codes, labels = networks.rows(space, rows, rng)
    classes = classes_of(space.layout, space.head, genomes, codes)
    one_by_one = [classes_of(space.layout, space.head, genomes[i : i + 1], codes[:1])[0, 0] for i in range(7)]
    assert classes[:, 0].tolist() == one_by_one
    prepared = pack_rows(codes, labels)
    expected = (classes != labels).sum(axis=1).tolist()
    for threads in (1, 2, 3, 20):
        assert count_errors(space.layout, space.head, genomes, prepared, threads=threads).tolist() == expected
        assert np.array_equal(classes_of(space.layout, space.head, genomes, prepared, threads), classes)


def test_an_empty_population_and_no_rows(networks):
    space = networks.make((3, 2, 2))
    genomes = networks.genomes(space, 3, np.random.default_rng(1))
    codes, labels = networks.rows(space, 5, np.random.default_rng(1))
    assert count_errors(space.layout, space.head, genomes[:0], codes, labels).tolist() == []
    assert count_errors(space.layout, space.head, genomes, codes[:0], labels[:0]).tolist() == [0, 0, 0]


def test_the_plain_way_equals_the_fast_one(networks):
    """The fallback is the same function, whatever the genome."""
    rng = np.random.default_rng(8)
    for sizes, threshold in (((6, 4, 5), False), ((8, 3, 3, 1), True)):
        space = networks.make(sizes, threshold=threshold)
        genomes = networks.genomes(space, 20, rng)
        codes, labels = networks.rows(space, 200, rng)
        fast = classes_of(space.layout, space.head, genomes, codes)
        plain = classes_of(
            space.layout, space.head, genomes, pack_rows(codes, labels)._replace(columns=codes.T.astype(np.int64))
        )
        assert np.array_equal(fast, plain)
        assert len(np.unique(fast)) > 1


def test_genomes_and_rows_of_another_shape_are_refused(networks):
    space = networks.make((3, 2, 2))
    genomes = networks.genomes(space, 3, np.random.default_rng(1))
    with pytest.raises(ValueError, match="the network reads 3 features, the rows have 4"):
        count_errors(space.layout, space.head, genomes, np.zeros((5, 4), int), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"a population, P × G, not an array of shape \(17,\)"):
        count_errors(space.layout, space.head, genomes[0][:17], np.zeros((5, 3), int), np.zeros(5, int))
    assert masked_network.BLOCK == 1024  # the test of blocks above means this number
