"""What the tests of the matrix engine share: state words, codes, every pair of codes in one sequence."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from approxhw.numerics.mac.float_mac import EMIN, State, nearest_code, to_word

PLAIN = (0.0, -0.0, 1.0, -1.0, 1.5, -1.75, 2.0**-6, 3.0, -7.0, 448.0, float("inf"), float("-inf"), float("nan"))


def state_word(source: random.Random, bits: int) -> int:
    """Return a state that a chain can reach, as it goes over wires; beside nan and infinity the other fields are random."""
    kind = source.random()
    if kind < 0.06:
        return source.choice((1, 2, 3)) << (bits + 11) | source.getrandbits(bits + 11)
    if kind < 0.16:
        return to_word(State(source.getrandbits(1), EMIN, 0), bits)
    near = source.random() < 0.7
    exponent = source.randint(-20, 20) if near else source.randint(-260, 300)
    shape = source.random()
    if shape < 0.1:
        significand = (1 << bits) - 1  # the next addend carries
    elif shape < 0.2:
        significand = 1 << source.randrange(bits)
    else:
        significand = source.getrandbits(bits) >> source.choice((0, 0, 0, 1, 2, 3, bits // 2, bits - 2)) or 1
    return to_word(State(source.getrandbits(1), exponent, significand), bits)


def adversary(source: random.Random, mac, a: int, b: int) -> int:
    """Return a state that nearly or wholly cancels the product of two codes, or is as large as it."""
    from approxhw.numerics.mac.float_mac import multiply_codes

    product = multiply_codes(mac, a, b)
    if product.nan or product.inf or product.significand == 0:
        return state_word(source, mac.accumulator_bits)
    change = source.choice((0, 0, 1, -1, 2, 1 << (mac.accumulator_bits // 2)))
    significand = min(max(product.significand + change, 1), (1 << mac.accumulator_bits) - 1)
    sign = product.sign ^ (source.random() < 0.8)
    state = State(sign, product.exponent + source.choice((0, 0, 0, 1, -1, 2)), significand)
    return to_word(state, mac.accumulator_bits)


def random_codes(source: random.Random, mac, count: int) -> list[int]:
    """Return codes, some of them plain numbers, zeros and specials."""
    plain = [nearest_code(mac.format, number) for number in PLAIN]
    bits = mac.code.bits
    return [source.choice(plain) if source.random() < 0.3 else source.getrandbits(bits) for _ in range(count)]


def every_pair(bits: int) -> list[int]:
    """Return a sequence in which every ordered pair of codes stands once, one behind the other: 2^(2·bits) + 1 codes."""
    sequence = []
    for code in range(1 << bits):  # an Eulerian circuit of the complete graph
        sequence.append(code)
        for other in range(code + 1, 1 << bits):
            sequence += [code, other]
    return [*sequence, 0]


@pytest.fixture(scope="session")
def making() -> SimpleNamespace:
    """Makers of vectors: ``state_word``, ``adversary``, ``random_codes``, ``every_pair``."""
    return SimpleNamespace(state_word=state_word, adversary=adversary, random_codes=random_codes, every_pair=every_pair)


@pytest.fixture(params=["icarus", "verilator"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return str(request.param)
