"""The search: what it finds is true and better than its start, reproducible, bounded, and told as it goes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.dse.genetic import operators
from approxhw.dse.genetic.evolution import OPERATORS, evolve
from approxhw.dse.genetic.islands import _state, generator_of, migrate, new_island, violations
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.genetic.problem import UM2_PER_MM2, default_toolbox, evaluate

SMALL = GeneticOptions(population=40, generations=12, islands=2, migration_every=4, migrants=2)


def plain_errors(problem, genome):
    """Count wrong rows of one genome with nothing but Python integers; comparators look at all bits."""
    layout, wrong = problem.space.layout.tolist(), 0
    genome = genome.tolist()
    for row, label in zip(problem.codes.tolist(), problem.labels.tolist()):
        x = row
        for n, m, _, masks, signs, exponents, biases, shift, bits in layout:
            sums = []
            for o in range(m):
                total = genome[biases + o]
                for i in range(n):
                    product = (x[i] & genome[masks + o * n + i]) << genome[exponents + o * n + i]
                    total += -product if genome[signs + o * n + i] else product
                sums.append(total)
            x = [min(max(total >> genome[shift], 0), (1 << bits) - 1) for total in sums] if shift >= 0 else sums
        wrong += x.index(max(x)) != label
    return wrong


def test_the_front_is_true_sorted_and_better_than_the_start(make_problem):
    problem = make_problem()
    masks = problem.space.layout[:, 3]
    counts = problem.space.layout[:, 0] * problem.space.layout[:, 1]
    genes = np.concatenate([np.arange(a, a + n) for a, n in zip(masks, counts)])
    problem = replace(problem, area=lambda genomes: 2.5 * np.bitwise_count(genomes[:, genes]).sum(axis=1))
    options = GeneticOptions(population=120, generations=30, islands=3, mutation_weights=(3, 1, 2, 4, 4, 0))
    found = evolve(problem, options)
    assert found.feasible
    assert not found.interrupted
    assert found.generations == 30
    assert found.evaluations == 31 * 120
    assert (np.diff(found.errors) > 0).all()
    assert (np.diff(found.areas_mm2) < 0).all()
    assert found.errors.max() <= found.allowed_errors == 20 + 12
    np.testing.assert_allclose(found.areas_mm2, problem.area(found.genomes), atol=1e-6)
    exact = (1 << problem.space.width) - 1
    plain = [i for i, g in enumerate(found.genomes) if (problem.space.comparators(g[None]) == exact).all()]
    assert plain
    for i in plain:
        assert plain_errors(problem, found.genomes[i]) == found.errors[i]
    start_errors, start_area = evaluate_start(problem)
    assert found.areas_mm2[found.errors <= start_errors].min() < 0.6 * start_area


def evaluate_start(problem):
    (errors, area), *_ = default_toolbox(problem, SMALL).evaluate(problem.starts).tolist()
    return errors, area / UM2_PER_MM2


def test_the_same_seed_gives_the_same_front_and_another_seed_another_one(make_problem):
    problem = make_problem()
    first, again = evolve(problem, SMALL), evolve(problem, SMALL)
    assert first.genomes.tobytes() == again.genomes.tobytes()
    assert first.logbook == again.logbook
    other = evolve(problem, GeneticOptions(population=40, generations=12, islands=2, seed=2))
    assert first.genomes.tobytes() != other.genomes.tobytes()


def test_allowed_errors_are_exact(make_problem):
    problem = make_problem(rows=100, reference_errors=7)
    assert [problem.allowed_errors(loss) for loss in (0.0, 0.05, 0.069999, 0.07)] == [7, 12, 13, 14]
    problem = make_problem(rows=100, reference_errors=0)
    assert [problem.allowed_errors(loss) for loss in (0.28, 0.29, 0.57, 0.58)] == [28, 29, 57, 58]  # 0.29 · 100 < 29.0
    assert violations(np.array([[28, 0], [29, 0], [30, 0], [99, 0]]), 29).tolist() == [0, 0, 1, 70]


def test_a_generator_goes_on_where_it_was_left():
    island = new_island(3, 8, 5, 7)
    expected = generator_of(island)
    expected.integers(0, 10, 3, dtype=np.int32)  # leaves half a word in hand
    state = _state(expected.bit_generator)
    assert state[2] == 1
    resumed = generator_of(replace(island, generator=state))
    assert resumed.integers(0, 1 << 30, 9, dtype=np.int32).tolist() == (
        expected.integers(0, 1 << 30, 9, dtype=np.int32).tolist()
    )
    streams = {new_island(number, 8, 5, seed).generator for number in range(4) for seed in (1, 2)}
    assert len(streams) == 8


def test_no_generation_draws_what_one_before_it_drew(make_problem):
    problem, drawn = make_problem(), []
    toolbox = default_toolbox(problem, SMALL)
    parents = toolbox.parents

    def watched(size, count, generator):
        drawn.append(parents(size, count, generator).tobytes())
        return np.frombuffer(drawn[-1], np.int64)

    toolbox.register("parents", watched)
    evolve(problem, SMALL, toolbox)
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 12


def test_a_bound_that_nothing_meets_gives_the_nearest_and_says_so(make_problem):
    problem = make_problem(reference_errors=0)
    found = evolve(problem, GeneticOptions(population=40, generations=8, islands=2, max_accuracy_loss=0.0))
    assert not found.feasible
    assert len(found.genomes) == 1
    assert found.errors[0] == min(record["least_errors"] for record in found.logbook)
    assert all(record["least_um2"] is None for record in found.logbook)


def test_every_generation_is_told_and_booked(make_problem):
    told = []
    found = evolve(make_problem(), SMALL, on_generation=told.append)
    assert [record.generation for record in told] == list(range(13))
    assert [record.evaluations for record in told] == [40 * (i + 1) for i in range(13)]
    assert all(record.generations == 12 and record.evaluations_per_second > 0 for record in told)
    assert all(a.seconds <= b.seconds for a, b in pairwise(told))
    least = [record.least_cost for record in told]
    assert least == sorted(least, reverse=True)
    assert least[-1] == found.areas_mm2[-1]
    assert found.errors[0] <= told[-1].least_errors
    np.testing.assert_array_equal(told[-1].front, found.genomes)
    assert told[-1].front_size == len(found.genomes) == found.logbook[-1]["front"]
    assert found.logbook.select("generation") == list(range(13))
    assert "least_errors" in str(found.logbook)


def test_stop_ends_after_a_whole_generation_with_a_valid_front(make_problem):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 4

    problem = make_problem()
    found = evolve(problem, SMALL, stop=stop)
    assert found.interrupted
    assert found.generations == 3
    whole = evolve(problem, GeneticOptions(population=40, generations=3, islands=2, migration_every=4, migrants=2))
    assert found.genomes.tobytes() == whole.genomes.tobytes()
    assert not whole.interrupted


def test_generations_of_zero_give_the_start_population(make_problem):
    problem = make_problem()
    found = evolve(problem, GeneticOptions(population=40, generations=0, islands=2))
    assert found.generations == 0
    assert found.evaluations == 40
    assert found.errors[0] <= evaluate_start(problem)[0]


def test_nothing_seen_that_meets_the_bound_is_better_than_the_front(make_problem):
    problem, seen = make_problem(), []
    toolbox = default_toolbox(problem, SMALL)
    plain = toolbox.evaluate

    def watched(genomes):
        seen.append(plain(genomes))
        return seen[-1]

    toolbox.register("evaluate", watched)
    found = evolve(problem, SMALL, toolbox)
    everything = np.concatenate(seen)
    everything = everything[everything[:, 0] <= found.allowed_errors]
    front = np.stack([found.errors, np.rint(found.areas_mm2 * UM2_PER_MM2).astype(np.int64)], axis=1)
    for point in everything:
        assert ((front <= point).all(axis=1)).any()
    assert all((everything == point).all(axis=1).any() for point in front)


def test_a_small_archive_keeps_the_ends(make_problem):
    problem = make_problem(reference_errors=60)
    wide = evolve(problem, GeneticOptions(population=40, generations=15, islands=1))
    thin = evolve(problem, GeneticOptions(population=40, generations=15, islands=1, archive=3))
    assert len(wide.errors) > 3
    assert len(thin.errors) == 3
    assert thin.errors[0] == wide.errors[0]
    assert thin.areas_mm2[-1] == wide.areas_mm2[-1]


def test_migrants_take_the_places_of_the_worst_of_the_next_island(make_problem):
    problem = make_problem()
    options = GeneticOptions(population=30, generations=5, islands=3, migration_every=0)
    islands = evolve(problem, options).islands
    toolbox = default_toolbox(problem, options)
    moved = migrate(islands, 4, 32, toolbox.select)
    for before, source, after in zip(islands, [islands[-1], *islands[:-1]], moved):
        assert after.genomes.shape == before.genomes.shape
        given = {row.tobytes() for row in np.concatenate([before.genomes[:6], source.genomes[:4]])}
        assert {row.tobytes() for row in after.genomes} == given
        found = toolbox.evaluate(after.genomes)
        np.testing.assert_array_equal(found, after.objectives)
        missed = violations(found, 32)
        assert (np.diff(missed[np.flatnonzero(missed)]) >= 0).all()
    apart = evolve(problem, GeneticOptions(population=30, generations=11, islands=3, migration_every=0))
    together = evolve(problem, GeneticOptions(population=30, generations=11, islands=3, migration_every=10))
    assert any((a.genomes != b.genomes).any() for a, b in zip(apart.islands, together.islands))


def test_users_swap_operators_by_registering_them(make_problem):
    problem = make_problem()
    toolbox = default_toolbox(problem, SMALL)
    calls = []

    def halves(first, second, generator):
        middle = first.shape[1] // 2
        return np.concatenate([first[:, :middle], second[:, middle:]], axis=1)

    toolbox.register("mate", halves)

    def no_bias(genomes, generator):
        calls.append(len(genomes))
        return operators.mutate(operators.gene_map(problem.space), genomes, generator, weights=(1, 1, 1, 0, 1, 1))

    toolbox.register("mutate", no_bias)
    found = evolve(problem, SMALL, toolbox)
    assert calls == [20] * 24  # 2 islands, 12 generations
    assert found.errors[0] <= evaluate_start(problem)[0]
    assert found.genomes.tobytes() == evolve(problem, SMALL, toolbox).genomes.tobytes()
    assert found.genomes.tobytes() != evolve(problem, SMALL).genomes.tobytes()


def test_genes_out_of_bounds_are_repaired(make_problem):
    problem = make_problem()
    toolbox = default_toolbox(problem, SMALL)
    toolbox.register("mutate", lambda genomes, generator: genomes.astype(np.int64) + 1_000_000_000_000)
    found = evolve(problem, SMALL, toolbox)
    for island in found.islands:
        assert (island.genomes <= problem.space.upper).all()


@pytest.mark.parametrize(
    ("name", "operator", "text"),
    [
        ("evaluate", lambda genomes: np.ones((len(genomes), 2)), "gave objectives of shape (20, 2) and type float64"),
        ("evaluate", lambda genomes: -np.ones((len(genomes), 2), int), "none negative, are needed"),
        ("evaluate", lambda genomes: np.ones(3, int), "integers of shape (20, 2), none negative, are needed"),
        ("mutate", lambda genomes, generator: genomes[:-1], "initialise, mate and mutate: gave genomes of shape (19, "),
        ("mutate", lambda genomes, generator: genomes / 2, "type float64; integers of shape (20, "),
    ],
)
def test_an_operator_that_gives_something_unusable_is_named(make_problem, name, operator, text):
    problem = make_problem()
    toolbox = default_toolbox(problem, SMALL)
    toolbox.register(name, operator)
    with pytest.raises(OptionError) as caught:
        evolve(problem, SMALL, toolbox)
    assert text in str(caught.value)


def test_operators_that_are_missing_are_all_named(make_problem):
    problem = make_problem()
    toolbox = default_toolbox(problem, SMALL)
    toolbox.unregister("mate")
    toolbox.unregister("select")
    with pytest.raises(OptionError) as caught:
        evolve(problem, SMALL, toolbox)
    assert "2 problems" in str(caught.value)
    assert "mate: no operator is registered under this name" in str(caught.value)
    assert "select: no operator" in str(caught.value)
    assert all(hasattr(default_toolbox(problem, SMALL), name) for name in OPERATORS)


def test_all_bad_options_are_told_at_once():
    with pytest.raises(OptionError) as caught:
        GeneticOptions(
            population=0, generations=-1, seed=1.5, islands=True, max_accuracy_loss=2, crossover=-1, mutation=0
        )
    text = str(caught.value)
    assert "search: 7 problems" in text
    assert "population: 0 is no integer of 1 or more" in text
    assert "generations: -1 is no integer of 0 or more" in text
    assert "seed: 1.5 is not a whole number" in text
    assert "islands: True is not a whole number" in text
    assert "max_accuracy_loss: 2 is not in 0…1" in text
    assert "crossover: -1 is not in 0…1" in text
    assert "mutation: 0 is not in 1…1000" in text
    with pytest.raises(OptionError, match="10 individuals on 4 islands; an island needs 4"):
        GeneticOptions(population=10)
    with pytest.raises(OptionError, match=r"mutation_weights: .* is not 6 numbers of 0 or more, one of them above 0"):
        GeneticOptions(mutation_weights=(0, 0, 0, 0, 0, 0))
    with pytest.raises(OptionError, match=r"crossover_shares: .* is not 3 numbers"):
        GeneticOptions(crossover_shares=(1, 2))


def test_objectives_are_whole_square_micrometres(make_problem):
    problem = make_problem()
    from approxhw.networks.kernels.masked_network import pack_rows

    rows = pack_rows(problem.codes, problem.labels)
    found = evaluate(problem.space, rows, lambda genomes: np.full(len(genomes), 0.2478604999), problem.starts)
    assert found.dtype == np.int64
    assert found[0, 1] == 247_860
