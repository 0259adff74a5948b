"""Local refinement: never worse, never larger, to the end, and the same for the same seed."""

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.networks.area_model import default_model
from approxhw.networks.kernels.masked_network import classes_of, count_errors, pack_rows
from approxhw.networks.refine import KINDS, refine
from approxhw.networks.space import canonical, make_space


def problem(networks, sizes=(6, 3, 4), seed=1, threshold=False, rows=300):
    """A space, a genome of many classes, rows whose labels it gets right but for a tenth, and the area."""
    rng = np.random.default_rng(seed)
    space = make_space(sizes, threshold=threshold)
    codes, noise = networks.rows(space, rows, rng)
    genomes = networks.genomes(space, 300, rng, empty=0.2, bias=1 / 256, exact=1.0)
    classes = classes_of(space.layout, space.head, genomes, codes)
    counts = np.stack([(classes == k).sum(axis=1) for k in range(space.classes)])
    model = default_model()
    best = (counts.min(axis=0) * model.area_mm2(space.layout, space.head, genomes)).argmax()
    assert counts[:, best].min() > 0
    labels = np.where(rng.random(rows) < 0.1, noise, classes[best])
    return space, genomes[best], pack_rows(codes, labels), lambda g: model.area_mm2(space.layout, space.head, g)


def errors_of(space, genome, rows):
    return int(count_errors(space.layout, space.head, genome[None], rows)[0])


@pytest.mark.parametrize(
    ("sizes", "threshold"), [((6, 3, 4), False), ((5, 3), False), ((6, 3, 1), True), ((5, 3, 3, 3), False)]
)
def test_refining_makes_a_network_smaller_and_never_worse(sizes, threshold, networks):
    space, genome, rows, area = problem(networks, sizes, threshold=threshold)
    before = genome.copy()
    result = refine(space, genome, rows, area)
    assert np.array_equal(genome, before)
    assert result.errors == errors_of(space, result.genome, rows) <= errors_of(space, genome, rows)
    assert result.area_mm2 == pytest.approx(area(result.genome[None])[0])
    assert result.area_mm2 < area(genome[None])[0]
    assert 0 < result.moves <= result.tried
    assert (result.genome >= space.lower).all()
    assert (result.genome <= space.upper).all()


def test_nothing_more_drops(networks):
    space, genome, rows, area = problem(networks)
    result = refine(space, genome, rows, area)
    again = refine(space, result.genome, rows, area, allowed=errors_of(space, genome, rows), seed=7)
    assert again.moves == 0
    assert np.array_equal(again.genome, result.genome)
    checked = 0
    for index in range(2):  # by hand: no bit of a mask can go
        masks = space.layer_genes(result.genome[None].copy(), index).masks[0]
        for o, i in np.argwhere(masks):
            for bit in range(8):
                if masks[o, i] >> bit & 1:
                    other = result.genome.copy()
                    space.layer_genes(other[None], index).masks[0, o, i] &= ~(1 << bit)
                    larger = area(other[None])[0] > result.area_mm2 + 1e-9
                    assert larger or errors_of(space, other, rows) > errors_of(space, genome, rows)
                    checked += 1
    assert checked > 0


def test_a_budget_of_errors_buys_area(networks):
    space, genome, rows, area = problem(networks)
    start = errors_of(space, genome, rows)
    results = [refine(space, genome, rows, area, allowed=start + more) for more in (0, 30, 300)]
    assert all(result.errors <= start + more for result, more in zip(results, (0, 30, 300)))
    areas = [result.area_mm2 for result in results]
    assert areas[0] > areas[1] > areas[2] == 0  # with all rows allowed to be wrong, nothing is left


def test_the_same_seed_gives_the_same_genome(networks):
    space, genome, rows, area = problem(networks)
    first, second = (refine(space, genome, rows, area, seed=3) for _ in range(2))
    assert np.array_equal(first.genome, second.genome)
    others = [refine(space, genome, rows, area, seed=seed).genome.tolist() for seed in range(6)]
    assert any(other != first.genome.tolist() for other in others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_move_changes_its_genes_only(kind, networks):
    space, genome, rows, area = problem(networks, rows=60)
    result = refine(space, genome, rows, area, kinds=(kind,), allowed=60)
    assert result.moves > 0
    before, after = canonical(space, genome[None]), result.genome[None]
    parts = ("masks", "signs", "exponents", "biases", "shift")
    changed = {
        part
        for index in range(2)
        for part, a, b in zip(parts, space.layer_genes(before, index), space.layer_genes(after, index))
        if a is not None and (a != b).any()
    }
    if (space.comparators(before) != space.comparators(after)).any():
        changed.add("comparators")
    if kind in ("input", "neuron", "summand"):
        assert "masks" in changed
        assert changed <= {"masks", "signs", "exponents", "biases"}
    else:
        allowed = {"bit": {"masks", "biases"}, "bias": {"biases"}, "exponent": {"exponents"}, "shift": {"shift"}}
        assert changed
        assert changed <= allowed.get(kind, {"comparators"})


def test_an_unknown_kind_is_refused(networks):
    space, genome, rows, area = problem(networks, rows=20)
    with pytest.raises(OptionError) as caught:
        refine(space, genome, rows, area, kinds=("bit", "wire"))
    assert str(caught.value) == (
        "refine: 1 problem\n  kinds: there is no kind of move called wire; there are input, neuron, summand, bit, "
        "exponent, bias, shift, comparator"
    )
