"""Choose the vectors of a simulation: the user's rows, corner cases, seeded random ones, or every one there is."""

# ruff: noqa: PT028 (the name is not that of a test)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem, shown

from .job import SMALL_BITS


def test_vectors(
    bits_per_port: Mapping[str, int] | Sequence[tuple[str, int]],
    rows: Mapping[str, np.ndarray] | np.ndarray | None = None,
    *,
    seed: int = 1,
    random: int = 1000,
    exhaustive_limit: int = 16,
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return vectors for ports of the given widths, and how many are of which kind.

    ``rows``: the user's own codes, unsigned bit patterns: one column a port by name, or an array (rows, ports) in the
    order of the ports. They come first and in their order. After them every possible vector when all ports together
    have at most ``exhaustive_limit`` bits; otherwise corner cases (all zero, all one, each port alone at its maximum or
    at zero, alternating bits and ports) and ``random`` uniform vectors from ``seed``. Without inputs: one empty vector,
    counted as exhaustive.

    The first value returned maps port to int64 array (dtype object beyond 63 bits); the second has the keys "data",
    "corners", "random", "exhaustive", whose sum is the length of every array (without inputs there is no array).
    Raises :class:`InvalidDataError` for rows that do not fit the ports.
    """
    ports = tuple(bits_per_port.items() if isinstance(bits_per_port, Mapping) else bits_per_port)
    if problems := [Problem(shown(name), f"has {bits} bits", "give it at least 1") for name, bits in ports if bits < 1]:
        raise OptionError("test vectors", problems)
    data, count = _data_columns(ports, rows)
    counts = {"data": count, "corners": 0, "random": 0, "exhaustive": 0}
    total = sum(bits for _, bits in ports)
    if total <= exhaustive_limit:
        more = _every_vector(ports, total)
        counts["exhaustive"] = 1 << total
    else:
        corners, drawn = _corner_vectors(ports), _random_vectors(ports, seed, random)
        more = {name: [*corners[name], *drawn[name]] for name, _ in ports}
        counts["corners"], counts["random"] = len(corners[ports[0][0]]), random
    return {name: _array([*data[name], *more[name]], bits) for name, bits in ports}, counts


# pytest collects by name what a test module imports; this is no test
test_vectors.__test__ = False  # type: ignore[attr-defined]


def _array(values: Sequence[int], bits: int) -> np.ndarray:
    return np.array(values, dtype=np.int64 if bits <= SMALL_BITS else object)


def _data_columns(
    ports: Sequence[tuple[str, int]], rows: Mapping[str, np.ndarray] | np.ndarray | None
) -> tuple[dict[str, list[int]], int]:
    if rows is None:
        return {name: [] for name, _ in ports}, 0
    problems: list[Problem] = []
    if isinstance(rows, Mapping):
        names = {name for name, _ in ports}
        problems += [Problem(f"rows[{shown(name)}]", "there is no such port") for name in sorted(set(rows) - names)]
        problems += [Problem(f"rows[{shown(name)}]", "is missing") for name, _ in ports if name not in rows]
        columns = {name: np.asarray(rows[name]) for name, _ in ports if name in rows}
    else:
        table = np.asarray(rows)
        if table.ndim != 2 or table.shape[1] != len(ports):
            shape = f"have shape {table.shape}, but there are {len(ports)} ports"
            raise InvalidDataError("test vectors", [Problem("rows", shape, "give one column a port")])
        columns = {name: table[:, index] for index, (name, _) in enumerate(ports)}
    for name, bits in ports:
        if name in columns and (why := _fault(columns[name], bits)):
            problems.append(Problem(f"rows[{shown(name)}]", why))
    lengths = {len(column) for column in columns.values() if column.ndim}
    if len(lengths) > 1:
        problems.append(Problem("rows", f"columns have different lengths: {sorted(lengths)}"))
    if problems:
        raise InvalidDataError("test vectors", problems)
    return {name: column.tolist() for name, column in columns.items()}, max(lengths, default=0)


def _fault(column: np.ndarray, bits: int) -> str | None:
    if column.ndim != 1 or (column.dtype.kind not in "iub" and column.dtype != object):
        return f"has shape {column.shape} and dtype {column.dtype}, not one integer a row"
    if len(column) and (int(column.min()) < 0 or int(column.max()) >> bits):
        return f"holds values from {int(column.min())} to {int(column.max())}, but {bits} bits hold 0 to 2^{bits} - 1"
    return None


def _every_vector(ports: Sequence[tuple[str, int]], total: int) -> dict[str, list[int]]:
    index = np.arange(1 << total, dtype=np.int64)
    columns, low = {}, total
    for name, bits in ports:
        low -= bits
        columns[name] = ((index >> low) & ((1 << bits) - 1)).tolist()
    return columns


def _corner_vectors(ports: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    """Return the corner cases, without repetitions."""
    full = [(1 << bits) - 1 for _, bits in ports]
    evens = [sum(1 << bit for bit in range(0, bits, 2)) for _, bits in ports]
    odds = [all_ones ^ even for all_ones, even in zip(full, evens, strict=True)]
    span = range(len(ports))

    def made(value: Callable[[int], int]) -> tuple[int, ...]:
        return tuple(value(index) for index in span)

    vectors = [made(lambda i: 0), made(lambda i: full[i]), made(lambda i: evens[i]), made(lambda i: odds[i])]
    vectors += [made(lambda i: full[i] * (i % 2)), made(lambda i: full[i] * (1 - i % 2))]
    vectors += [made(lambda i, one=one: full[i] * (i == one)) for one in span]  # type: ignore[misc]
    vectors += [made(lambda i, one=one: full[i] * (i != one)) for one in span]  # type: ignore[misc]
    vectors += [made(lambda i: 1 << (ports[i][1] - 1)), made(lambda i: full[i] >> 1), made(lambda i: 1)]
    unique = list(dict.fromkeys(vectors))
    return {name: [vector[index] for vector in unique] for index, (name, _) in enumerate(ports)}


def _random_vectors(ports: Sequence[tuple[str, int]], seed: int, count: int) -> dict[str, list[int]]:
    source = np.random.default_rng(seed)
    columns = {}
    for name, bits in ports:
        size = (bits + 7) // 8
        octets = source.bytes(size * count)
        mask = (1 << bits) - 1
        columns[name] = [int.from_bytes(octets[at : at + size], "little") & mask for at in range(0, size * count, size)]
    return columns
