"""The trainer: its numbers, its slopes, what it keeps, and that its errors are the interpreter's."""

import numpy as np
import pytest

from approxhw.common.errors import PassError
from approxhw.networks.initial_weights import RealLayer, random_layers, start_from, widened_layers
from approxhw.networks.kernels import portable
from approxhw.networks.kernels import training as kernel
from approxhw.networks.kernels.masked_network import classes_of, count_errors
from approxhw.networks.retrain import (
    Settings,
    better_first,
    genome_of,
    retrain,
    start_of_genome,
    tempered,
    train_starts,
)
from approxhw.networks.space import make_space

LN2 = np.log(2.0)


def random_space(rng):
    """One to three layers, either head, odd sizes, other widths of codes than the usual ones."""
    depth = int(rng.integers(1, 4))
    threshold = bool(rng.integers(2))
    sizes = (*rng.integers(1, 7, depth).tolist(), 1 if threshold else int(rng.integers(2, 6)))
    bits = {
        "input_bits": int(rng.integers(1, 6)),
        "exponent": int(rng.integers(0, 8)),
        "hidden_bits": int(rng.integers(2, 9)),
    }
    return make_space(sizes, threshold=threshold, **bits)


def random_genome(space, rng):
    genomes = rng.integers(space.lower.astype(np.int64), space.upper.astype(np.int64) + 1)[None]
    for index in range(len(space.layers)):
        genes = space.layer_genes(genomes, index)
        genes.masks[rng.random(genes.masks.shape) < 0.4] = (1 << space.layers[index].input_bits) - 1
        genes.biases[:] //= 8
        if genes.shift is not None:
            genes.shift[:] //= 2
    space.comparators(genomes)[:] = (1 << space.width) - 1
    return genomes[0].astype(np.int32)


def random_rows(space, rng, count=90):
    return rng.integers(0, 1 << space.layers[0].input_bits, (count, space.features)), rng.integers(
        0, space.classes, count
    )


def reference(space, real, masks, shifts, codes):
    """Sums and inputs of every layer, as floats, for weights and biases *real*: each step as its definition says."""
    x, inputs, sums = codes.astype(np.int64), [], []
    for layer, (n, m, _, mask, _, exponents, biases, _, bits) in enumerate(space.layout.tolist()):
        seen = masks[mask : mask + m * n].reshape(m, n)
        weights = real[exponents : exponents + m * n].reshape(m, n)
        masked = x[:, None, :] & seen[None]
        inputs.append(masked)
        sums.append((masked * weights).sum(axis=2) + real[biases : biases + m])
        x = np.clip(np.floor(sums[-1] / 2.0 ** shifts[layer]), 0, (1 << bits) - 1).astype(np.int64)
    return inputs, sums


def loss_of(space, logits, labels):
    if space.head[0]:
        margin = logits[:, 0]
        return np.logaddexp(0, np.where(labels == 1, -margin, margin))
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


def test_its_own_exponential_and_logarithm_are_right_to_the_last_digits():
    rng = np.random.default_rng(0)
    x = np.concatenate([[0.0, -1e-9, -0.5 * LN2, -LN2, -37.0, -700.0, -5000.0], -rng.exponential(20, 2000)])
    result = np.empty(len(x))
    portable.exponentials(x, np.empty(len(x)), result)
    np.testing.assert_allclose(result, np.exp(np.maximum(x, -700.0)), rtol=1e-12)
    for value in [1.0, 1.5, 2.0, 3.999, 1e6, *rng.uniform(1, 40, 200)]:
        assert portable.natural_log(value) == pytest.approx(np.log(value), rel=1e-13, abs=1e-15)
    assert portable.exponential(-3.7) == pytest.approx(np.exp(-3.7), rel=1e-13)
    assert portable.exponential(5.5) == pytest.approx(np.exp(5.5), rel=1e-13)


def test_weights_become_the_nearest_power_by_value():
    space = make_space((9, 1), exponent=3, threshold=True)
    latent, real = np.zeros(space.genes), np.zeros(space.genes)
    row = space.layout[0]
    latent[row[5] : row[5] + 9] = [0.0, 0.49, -0.5, 1.49, 1.5, 2.99, -3.0, 6.1, 100.0]
    latent[row[6]] = -2.5
    masks, settled = np.full(space.genes, 15), np.ones(space.genes, np.uint8)
    masks[row[3] + 7], settled[row[5] + 5] = 0, 0
    kernel.quantise(
        space.layout, space.lower.astype(np.int64), space.upper.astype(np.int64), masks, latent, settled, real
    )
    assert real[row[5] : row[5] + 9].tolist() == [0, 0, -1, 1, 2, 2.99, -4, 0, 8]
    assert real[row[6]] == -2


def test_its_classes_are_those_of_the_fitness_kernel_and_its_loss_is_the_definition():
    counted = wrong = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        space = random_space(rng)
        genome = random_genome(space, rng)
        codes, labels = random_rows(space, rng)
        latent, shifts, _ = start_of_genome(space, genome, codes, labels)
        real, reach = np.zeros(space.genes), np.zeros((len(shifts), 2), np.int64)
        bounds = space.lower.astype(np.int64), space.upper.astype(np.int64)
        kernel.quantise(space.layout, *bounds, genome.astype(np.int64), latent, np.ones(space.genes, np.uint8), real)
        weights, temperature = rng.integers(0, 3, len(labels)).astype(float), 2.0 ** -int(rng.integers(0, 16))
        columns, wide = np.ascontiguousarray(codes.T, dtype=np.int32), genome.astype(np.int64)
        errors, loss = kernel.errors_and_loss(
            space.layout, int(space.head[0]), wide, real, shifts, temperature, columns, labels, weights, reach
        )
        classes = classes_of(space.layout, space.head, genome[None], codes)[0]
        assert errors == weights[classes != labels].sum(), seed
        sums = reference(space, real, wide, shifts, codes)[1]
        logits = temperature * (sums[-1] - (0.5 if space.head[0] else 0.0))
        assert loss == pytest.approx((weights * loss_of(space, logits, labels)).sum(), rel=1e-9, abs=1e-9), seed
        for layer, values in enumerate(sums[:-1]):
            end = 2.0 ** (shifts[layer] + space.layers[layer].hidden_bits)
            assert reach[layer].tolist() == [(values >= end).sum(), (values >= end / 2).sum()], seed
        assert np.array_equal(genome_of(space, genome, latent, shifts) != genome, _meaningless(space, genome)), seed
        counted, wrong = counted + len(labels), wrong + int(errors)
    assert counted > 10_000
    assert wrong > 1000


def _meaningless(space, genome):
    """Genes of a summand without a mask bit that are not 0: reading and writing a latent clears them."""
    clear = np.zeros(space.genes, dtype=bool)
    for n, m, _, masks, signs, exponents, *_ in space.layout.tolist():
        nothing = genome[masks : masks + m * n] == 0
        for start in (signs, exponents):
            clear[start : start + m * n] = nothing & (genome[start : start + m * n] != 0)
    return clear


def test_its_slopes_are_the_straight_through_ones():
    """Against NumPy: slopes go through floors as if they were not there, and *leak* of them where QReLU cuts off."""
    checked = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        space = random_space(rng)
        genome, codes = random_genome(space, rng).astype(np.int64), random_rows(space, rng, 64)[0]
        real, leak = np.zeros(space.genes), 0.125
        shifts = np.array([int(genome[row[7]]) if row[7] >= 0 else 0 for row in space.layout.tolist()])
        for n, m, _, masks, _, exponents, biases, _, _ in space.layout.tolist():
            there = genome[masks : masks + m * n] != 0
            real[exponents : exponents + m * n] = np.where(there, rng.uniform(-4, 4, m * n), 0.0)
            real[biases : biases + m] = genome[biases : biases + m]
        layers, widest = len(space.layers), max(space.features, int(space.layout[:, 1].max()))
        acts, whole = np.zeros((layers + 1, widest, 64)), np.zeros((layers + 1, widest, 64), np.int32)
        sums, slopes = np.zeros((layers, widest, 64)), np.zeros((layers, widest, 64))
        acts[0, : space.features] = whole[0, : space.features] = codes.T
        kernel._forward(space.layout, genome, real, shifts, whole, acts, sums)
        inputs, expected = reference(space, real, genome, shifts, codes)
        np.testing.assert_allclose(sums[-1, : expected[-1].shape[1]].T, expected[-1], rtol=1e-9, atol=1e-6)
        outputs = space.layout[-1, 1]
        slope = rng.normal(size=(64, outputs))
        slopes[-1, :outputs] = slope.T
        gradient, scratch = np.zeros(space.genes), np.zeros((3, 64))
        scratch[0] = 1.0
        kernel._backward(space.layout, genome, real, shifts, leak, whole, acts, sums, slopes, gradient, scratch)
        for layer in range(layers - 1, -1, -1):
            n, m, bits, masks, _, exponents, biases, _, _ = space.layout[layer].tolist()
            seen = genome[masks : masks + m * n].reshape(m, n) != 0
            wanted = np.where(seen, np.einsum("rm,rmn->mn", slope, inputs[layer]), 0)
            np.testing.assert_allclose(
                gradient[exponents : exponents + m * n].reshape(m, n), wanted, rtol=1e-9, atol=1e-9
            )
            np.testing.assert_allclose(gradient[biases : biases + m], slope.sum(axis=0), rtol=1e-9, atol=1e-9)
            if layer:
                scale = 2.0 ** -shifts[layer - 1]
                below = expected[layer - 1]
                inside = (below >= 0) & (below < (1 << bits) / scale)
                weights = real[exponents : exponents + m * n].reshape(m, n)
                slope = (slope @ weights) * scale * np.where(inside, 1.0, leak)
            checked += wanted.size
    assert checked > 800


def blobs(seed=0, rows=300, features=5, classes=3, bits=4):
    """Codes of three clouds that overlap a little."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(2, 13, (classes, features))
    labels = rng.integers(0, classes, rows)
    codes = np.clip(np.round(centres[labels] + rng.normal(0, 2.2, (rows, features))), 0, (1 << bits) - 1)
    return codes.astype(np.int64), labels


def full(space, count=1):
    genomes = np.zeros((count, space.genes), np.int32)
    for index, layer in enumerate(space.layers):
        space.layer_genes(genomes, index).masks[:] = (1 << layer.input_bits) - 1
    space.comparators(genomes)[:] = (1 << space.width) - 1
    return genomes


def random_starts(space, codes, labels, count):
    return [start_from(random_layers(space, codes, seed), space, codes, labels) for seed in range(count)]


@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 4, 4, 3)])
def test_it_learns_from_random_weights_and_reports_the_errors_of_its_genomes(sizes):
    codes, labels = blobs()
    space = make_space(sizes)
    starts = random_starts(space, codes, labels, 3)
    result = train_starts(space, full(space, 3), starts, codes, labels, Settings(epochs=60, jitter=0.1))
    assert np.array_equal(result.errors, count_errors(space.layout, space.head, result.genomes, codes, labels))
    assert result.errors.min() < 0.06 * len(labels)
    assert (result.genomes >= space.lower).all()
    assert (result.genomes <= space.upper).all()
    best = better_first(result, "errors")[0]
    assert result.errors[best] == result.errors.min()
    assert result.losses[better_first(result, "loss")[0]] == result.losses.min()


def test_a_single_logit_learns_as_well():
    codes, labels = blobs(classes=2)
    space = make_space((5, 3, 1), threshold=True)
    result = train_starts(
        space, full(space), random_starts(space, codes, labels, 1), codes, labels, Settings(epochs=60)
    )
    assert result.errors[0] == count_errors(space.layout, space.head, result.genomes, codes, labels)[0]
    assert result.errors[0] < 0.05 * len(labels)


def test_settling_beats_rounding_from_the_first_step_on():
    codes, labels = blobs(3, rows=500, features=8, classes=6)
    space = make_space((8, 4, 6))
    starts = random_starts(space, codes, labels, 4)
    errors = {}
    for settle in ((0.1, 0.9), (0.0, 0.0)):
        result = train_starts(space, full(space, 4), starts, codes, labels, Settings(epochs=80, settle=settle))
        errors[settle] = result.losses.mean()
    assert errors[0.1, 0.9] < 0.95 * errors[0.0, 0.0]


def masked_start(seed=0):
    codes, labels = blobs(seed)
    space = make_space((5, 4, 3))
    rng = np.random.default_rng(seed)
    genomes = train_starts(
        space, full(space, 3), random_starts(space, codes, labels, 3), codes, labels, Settings(epochs=20)
    ).genomes
    for index in range(2):
        masks = space.layer_genes(genomes, index).masks
        masks &= rng.integers(0, 1 << space.layers[index].input_bits, masks.shape).astype(np.int32)
    return space, genomes, codes, labels


def test_retraining_mends_what_masks_broke_and_keeps_them():
    space, genomes, codes, labels = masked_start()
    before = count_errors(space.layout, space.head, genomes, codes, labels)
    kept = genomes.copy()
    result = retrain(space, genomes, codes, labels, Settings(epochs=40))
    assert np.array_equal(genomes, kept)  # the caller's array is left alone
    assert np.array_equal(result.errors, count_errors(space.layout, space.head, result.genomes, codes, labels))
    assert (result.errors <= before).all()
    assert result.errors.sum() < 0.7 * before.sum()
    for index in range(2):
        old, new = (space.layer_genes(g, index).masks for g in (genomes, result.genomes))
        assert np.array_equal(np.where(new == 0, 0, old), new)
    assert np.array_equal(space.comparators(result.genomes), space.comparators(genomes))


def test_no_result_is_worse_than_its_start():
    codes, labels = blobs()
    space = make_space((5, 3))
    genome = train_starts(
        space, full(space), random_starts(space, codes, labels, 1), codes, labels, Settings(epochs=60)
    ).genomes
    mine = classes_of(space.layout, space.head, genome, codes)[0]
    mine[::20] = (mine[::20] + 1) % 3  # else nothing is wrong, and nothing moves
    wrong, worse = len(mine[::20]), 0
    for seed in range(5):
        result = retrain(space, genome, codes, mine, Settings(epochs=2, rate=1.0, last_rate=1.0, seed=seed))
        assert result.errors[0] <= wrong
        assert count_errors(space.layout, space.head, result.genomes, codes, mine)[0] == result.errors[0]
        worse += result.epochs[0] == 0
    assert worse
    again = retrain(space, genome, codes, mine, Settings(epochs=0))
    assert np.array_equal(again.genomes, genome)
    assert again.epochs[0] == 0


def test_one_seed_gives_one_result_and_another_seed_another():
    space, genomes, codes, labels = masked_start(1)
    first, second, other = (
        retrain(space, genomes, codes, labels, Settings(epochs=10, jitter=0.2, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.genomes, second.genomes)
    assert np.array_equal(first.losses, second.losses)
    assert not np.array_equal(first.genomes, other.genomes)
    alone = retrain(space, genomes[:1], codes, labels, Settings(epochs=10, jitter=0.2, seed=1))
    assert np.array_equal(alone.genomes[0], first.genomes[0])  # whoever else is trained beside it


def test_the_same_genome_on_every_machine():
    """Only +, −, ×, ÷, square roots and floors in a fixed order: this checksum holds wherever floating point is IEEE 754."""
    codes, labels = blobs(7)
    space = make_space((5, 4, 3))
    starts = random_starts(space, codes, labels, 2)
    result = train_starts(space, full(space, 2), starts, codes, labels, Settings(epochs=30, jitter=0.1, l1=0.001))
    weights = np.arange(space.genes, dtype=np.int64) % 1009 + 1
    assert (result.genomes.astype(np.int64) @ weights).tolist() == CHECKSUMS


CHECKSUMS = [110722240, 110256044]


def test_rows_of_weight_0_teach_nothing():
    codes, labels = blobs(2)
    space = make_space((5, 4, 3))
    start = random_starts(space, codes, labels, 1)
    settings = Settings(epochs=15, move_shifts=0.0)
    rng = np.random.default_rng(0)
    more = np.vstack([codes, rng.integers(0, 16, codes.shape)])
    senseless = np.concatenate([labels, rng.integers(0, 3, len(labels))])
    weights = np.concatenate([np.ones(len(labels)), np.zeros(len(labels))])
    alone = train_starts(space, full(space), start, codes, labels, settings)
    among = train_starts(space, full(space), start, more, senseless, settings, weights, weights)
    assert np.array_equal(alone.genomes, among.genomes)
    assert alone.errors[0] == among.errors[0]
    spoilt = train_starts(space, full(space), start, more, senseless, settings)
    assert not np.array_equal(alone.genomes, spoilt.genomes)


def test_of_two_labels_the_one_of_greater_weight_is_learnt():
    codes, labels = blobs(4)
    space = make_space((5, 4, 3))
    both, wanted = np.vstack([codes, codes]), np.concatenate([labels, (labels + 1) % 3])
    starts = random_starts(space, codes, labels, 1)
    for first, second in ((3.0, 1.0), (1.0, 3.0)):
        weights = np.repeat([first, second], len(labels))
        result = train_starts(space, full(space), starts, both, wanted, Settings(epochs=60), weights, weights)
        wrong = classes_of(space.layout, space.head, result.genomes, both)[0] != wanted
        assert result.errors[0] == (weights * wrong).sum()
        assert wrong[weights == 3.0].mean() < 0.2


def test_the_epoch_is_chosen_on_the_rows_that_are_said():
    codes, labels = blobs(5)
    space = make_space((5, 3, 3))
    starts, chosen = random_starts(space, codes, labels, 1), np.arange(len(labels)) % 3 == 0
    settings = Settings(epochs=25)
    whole = train_starts(space, full(space), starts, codes, labels, settings, ~chosen * 1.0, np.ones(len(labels)))
    part = train_starts(space, full(space), starts, codes, labels, settings, ~chosen * 1.0, chosen * 1.0)
    assert part.errors[0] == count_errors(space.layout, space.head, part.genomes, codes[chosen], labels[chosen])[0]
    on_part = count_errors(space.layout, space.head, whole.genomes, codes[chosen], labels[chosen])[0]
    assert part.errors[0] <= on_part


def test_a_teacher_is_followed_where_it_is_given_a_share():
    codes, labels = blobs(6)
    space = make_space((5, 3))
    starts = random_starts(space, codes, labels, 1)
    teacher = np.eye(3)[(labels + 1) % 3]
    settings = Settings(epochs=100, teaching=1.0, keep="loss")
    taught = train_starts(space, full(space), starts, codes, (labels + 1) % 3, settings, teacher=teacher)
    assert taught.errors[0] < 0.1 * len(labels)
    ignored = train_starts(space, full(space), starts, codes, labels, Settings(epochs=100), teacher=teacher)
    assert ignored.errors[0] < 0.1 * len(labels)


def test_the_pull_to_zero_removes_summands():
    codes, labels = blobs(8, features=8)
    codes[:, 4:] = np.random.default_rng(1).integers(0, 16, (len(codes), 4))  # says nothing
    space = make_space((8, 3))
    starts = random_starts(space, codes, labels, 3)
    summands = []
    for l1 in (0.0, 0.02):
        genomes = train_starts(space, full(space, 3), starts, codes, labels, Settings(l1=l1)).genomes
        summands.append(np.count_nonzero(space.layer_genes(genomes, 0).masks))
    assert summands[1] < 0.8 * summands[0]


def test_codes_are_jittered_with_the_probability_that_is_said_and_stay_codes():
    codes = np.ascontiguousarray(np.random.default_rng(0).integers(0, 16, (3, 4000)), dtype=np.int32)
    whole, acts = np.zeros((3, 4000), np.int32), np.zeros((3, 4000))
    kernel._gather(codes, np.arange(4000), 0.25, 15, np.array([3], np.uint64), whole, acts)
    assert whole.min() == 0
    assert whole.max() == 15
    inner = (codes > 0) & (codes < 15)
    assert np.abs(whole - codes).max() == 1
    assert (whole != codes)[inner].mean() == pytest.approx(0.25, abs=0.02)
    assert (whole > codes)[inner].mean() == pytest.approx(0.125, abs=0.02)
    assert np.array_equal(acts, whole)


def test_the_first_temperature_is_the_best_power_of_two():
    rng = np.random.default_rng(3)
    codes, labels = blobs(3)
    space = make_space((5, 4, 3))
    genome = random_genome(space, rng)
    latent, shifts, found = start_of_genome(space, genome, codes, labels)
    assert found == tempered(space, genome, latent, shifts, codes, labels)
    real = latent.copy()
    logits = reference(space, real, genome.astype(np.int64), shifts, codes)[1][-1]
    losses = [loss_of(space, logits * 2.0**-k, labels).sum() for k in range(-2, 25)]
    assert found == pytest.approx(-(int(np.argmin(losses)) - 2) * LN2)


def test_widening_keeps_what_the_network_computes_but_for_the_noise_on_copies():
    rng = np.random.default_rng(0)
    layers = [
        RealLayer(rng.normal(size=(3, 4)), rng.normal(size=3)),
        RealLayer(rng.normal(size=(2, 3)), rng.normal(size=2)),
    ]
    wide = widened_layers(layers, [8], seed=1)
    assert wide[0].weights.shape == (8, 4)
    assert wide[1].weights.shape == (2, 8)
    assert np.array_equal(wide[0].weights[:3], layers[0].weights)
    merged = np.zeros((2, 3))
    for column in range(8):
        merged[:, column % 3] += wide[1].weights[:, column]
    np.testing.assert_allclose(merged, layers[1].weights)
    off = np.abs(wide[0].weights[3:] - layers[0].weights[np.arange(3, 8) % 3])
    assert 0 < off.max() < np.abs(layers[0].weights).mean(axis=1).max()


def test_a_start_rounds_to_the_network_that_it_was_made_of():
    """Real weights that are powers of two times one factor come back as these, at any scale of a hidden neuron."""
    rng = np.random.default_rng(5)
    weights = 2.0 ** rng.integers(0, 8, (4, 6)) * rng.choice([-1, 1], (4, 6))
    weights[:, 0] = 128
    layers = [
        RealLayer(weights * np.array([[0.01], [3.0], [0.2], [1.0]]), np.zeros(4)),
        RealLayer(rng.normal(size=(3, 4)), np.zeros(3)),
    ]
    space = make_space((6, 4, 3))
    codes = rng.integers(0, 16, (50, 6))
    latent, shifts, _ = start_from(layers, space, codes, rng.integers(0, 3, 50))
    genome = genome_of(space, full(space)[0], latent, shifts)
    genes = space.layer_genes(genome[None].astype(np.int64), 0)
    assert np.array_equal((1 - 2 * genes.signs[0]) << genes.exponents[0], weights)


def test_what_cannot_be_trained_is_refused_with_every_reason():
    space = make_space((3, 2), input_bits=4)
    genomes, codes, labels = full(space), np.zeros((4, 3), np.int64), np.array([0, 1, 0, 1])
    for rows, classes, why in (
        (codes[:, :2], labels, r"training rows: codes of shape \[4, 2\] and 4 labels, for 3 features"),
        (codes, labels[:3], r"training rows: codes of shape \[4, 3\] and 3 labels, for 3 features"),
        (codes[:0], labels[:0], "training rows: there are none"),
        (codes, labels * 2, "training rows: labels 0…2, the network names classes 0…1"),
        (codes + 16, labels, "training rows: codes 16…16 are not unsigned codes of 4 bits"),
    ):
        with pytest.raises(PassError, match=why):
            train_starts(space, genomes, random_starts(space, codes, labels, 1), rows, classes, Settings(epochs=1))
