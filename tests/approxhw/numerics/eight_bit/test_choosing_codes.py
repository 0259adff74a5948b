"""Which 8-bit format each of several tensors gets under a budget, and the losses that are told."""

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.eight_bit.choose import candidates, choose_formats, loss_of
from approxhw.numerics.eight_bit.codes import make


def tensors():
    rng = np.random.default_rng(1)
    uneven = rng.standard_normal((64, 256)) * np.repeat(10.0 ** rng.uniform(-4, 0, 64), 256).reshape(64, 256)
    return {"even": rng.uniform(-1, 1, (100, 100)), "uneven": uneven, "small": rng.standard_normal((3, 5))}


def spent(chosen):
    return sum(each.bits for each in chosen.values()) / sum(each.codes.size for each in chosen.values())


def total(chosen, given):
    errors = 0.0
    for name, x in given.items():
        error = x - chosen[name].format.decode(chosen[name])
        errors += x.size * float((error**2).sum() / (x**2).sum())
    return errors


def test_more_bits_never_make_it_worse_and_the_budget_holds():
    given = tensors()
    errors = []
    for budget in (8.05, 8.1, 8.2, 8.5):
        chosen = choose_formats(given, budget)
        assert spent(chosen) <= budget
        errors.append(total(chosen, given))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1]


def test_it_beats_one_format_for_all_at_the_same_bits():
    given = tensors()
    one = make("dynamic8", 256)
    plain = {name: one.encode(x, ragged=True) for name, x in given.items()}
    assert total(choose_formats(given, spent(plain)), given) < total(plain, given)


def test_blocks_go_where_they_help():
    chosen = choose_formats(tensors(), 8.2)
    assert chosen["uneven"].format.block is not None
    assert chosen["even"].format.kind == "linear8"


def test_too_small_a_budget_is_refused():
    with pytest.raises(
        OptionError, match=r"8 bits a value are fewer than the smallest formats take, 8\.\d+\n    do: raise it"
    ):
        choose_formats(tensors(), 8)


def test_a_small_tensor_has_no_blocks():
    assert {code.block for code in candidates(64)} == {None}
    assert {code.block for code in candidates(65)} == {None, 64}
    assert len(candidates(100_000)) == 4 * 8


def test_losses_are_what_they_say():
    loss = loss_of(np.array([1.0, -2.0, 0.0, 4.0]), np.array([1.5, -2.0, 1.0, 3.0]))
    assert (loss.mse, loss.mae) == (2.25 / 4, 2.5 / 4)
    assert loss.relative == pytest.approx((0.5 + 0 + 0.25) / 3)
    assert loss_of(np.zeros(2), np.zeros(2)).relative == 0
