"""How a circuit is driven where nobody gave vectors: at random, but for its clock, and for resets, which are let go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from approxhw.backends.estimate.library import logic
from approxhw.common.errors import shown

from .netlist import Netlist
from .simulator import simulate_activity

HELD = 2
"""Vectors for which a reset is held before it is let go."""
TRIED = 256
"""Vectors that tell which level of a reset holds the registers."""
# rst, reset, rst_n, nreset, aresetn, sys_rst_ni, i_reset_b, …: by name a reset, whichever level it holds at
_RESET = re.compile(
    r"(?:.*_)?n?(?:[ashp]|sys|sync|async|por|hw|global)?_?(?:rst|reset)(?:_?(?:n|b|l|ni|i|in|sync|async)){0,2}"
)


@dataclass(frozen=True)
class Reset:
    """An input that holds registers while it is at ``level``; ``asynchronous``: whatever the clock does."""

    port: str
    level: int
    asynchronous: bool

    def __str__(self) -> str:
        """Return what it is, in words."""
        return (
            f"{'asynchronous' if self.asynchronous else 'synchronous'} reset, active {'high' if self.level else 'low'}"
        )


@dataclass(frozen=True)
class Driving:
    """Vectors by port, what they are in words, and what each input is driven by where that is not the same for all."""

    vectors: Mapping[str, np.ndarray]
    words: str
    by_port: Mapping[str, str]


def drive(netlist: Netlist, count: int, seed: int) -> Driving:
    """Return *count* vectors drawn from *seed*: uniform, but for resets, held for two vectors and then never again.

    A reset is an input that clears or sets a register whatever the clock does, or one of a name such as ``rst``, ``reset`` or
    ``rst_n`` at one level of which registers change less than at the other.
    """
    vectors = uniform_vectors(netlist, count, seed)
    words = f"{count} seeded uniform vectors"
    if not netlist.clocks:
        return Driving(vectors, words, {})
    resets = find_resets(netlist, seed)
    for reset in resets:
        column = np.full(count, 1 - reset.level, dtype=np.int64)
        column[:HELD] = reset.level
        vectors[reset.port] = column
    by_port = {port.name: "uniform at random" for port in netlist.data_inputs}
    by_port |= {reset.port: f"{reset}: held for the first {HELD} vectors, then let go" for reset in resets}
    data = {port.name for port in netlist.data_inputs}
    by_port |= {port.name: "clock: one vector a cycle" for port in netlist.inputs if port.name not in data}
    clocks = ", ".join(shown(port.name, 40) for port in netlist.inputs if port.name not in data)
    if resets:
        named = ", ".join(f"{shown(reset.port, 40)} ({reset})" for reset in resets)
        words += f"; clock {clocks}; held for {HELD} vectors, then let go: {named}; other inputs at random"
    else:
        words += f"; clock {clocks}; no reset was found: every other input at random, enables too"
    return Driving(vectors, words, by_port)


def uniform_vectors(netlist: Netlist, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Return *count* uniform codes for each data input, drawn from *seed*."""
    generator = np.random.default_rng(seed)
    vectors: dict[str, np.ndarray] = {}
    for port in netlist.data_inputs:
        bits = len(port.nets)
        if bits <= 63:
            vectors[port.name] = generator.integers(0, 1 << bits, count, dtype=np.int64)
        else:
            codes = np.zeros(count, dtype=object)
            for low in range(0, bits, 32):
                codes |= generator.integers(0, 1 << min(32, bits - low), count, dtype=np.int64).astype(object) << low
            vectors[port.name] = codes
    return vectors


def find_resets(netlist: Netlist, seed: int = 1) -> list[Reset]:
    """Return the resets of *netlist*, in the order of its ports."""
    levels = _asynchronous_levels(netlist)
    found = {name: Reset(name, next(iter(held)), True) for name, held in levels.items() if len(held) == 1}
    named = [
        port.name
        for port in netlist.data_inputs
        if len(port.nets) == 1 and port.name not in levels and _RESET.fullmatch(port.name.lower())
    ]
    if named:
        vectors = uniform_vectors(netlist, TRIED, seed)
        for reset in found.values():
            vectors[reset.port] = np.full(TRIED, 1 - reset.level, dtype=np.int64)
        for name in named:
            low, high = (_changes(netlist, {**vectors, name: np.full(TRIED, level)}) for level in (0, 1))
            if low != high:
                found[name] = Reset(name, int(high < low), False)
                vectors[name] = np.full(TRIED, 1 - found[name].level, dtype=np.int64)
    return [found[port.name] for port in netlist.data_inputs if port.name in found]


def _asynchronous_levels(netlist: Netlist) -> dict[str, set[int]]:
    """Return input port → the levels at which it clears or sets a register by itself; both of them: it is no reset."""
    drivers = netlist.single_input_drivers()
    ports = {port.nets[0]: port.name for port in netlist.data_inputs if len(port.nets) == 1}
    levels: dict[str, set[int]] = {}
    for instance in netlist.instances:
        flop = netlist.library.cells[instance.cell].flip_flop
        for condition in () if flop is None else (flop.clear, flop.preset):
            if condition is None:
                continue
            pins = tuple(sorted(condition.pins()))
            for number, pin in enumerate(pins):
                net, inverted = instance.pins.get(pin, 0), False
                while net in drivers and net not in ports:
                    net, inverts = drivers[net]
                    inverted ^= inverts
                if net in ports:
                    held = _level(logic.table(condition, pins), number, len(pins))
                    if held is not None:
                        levels.setdefault(ports[net], set()).add(held ^ inverted)
    return levels


def _level(table: int, pin: int, pins: int) -> int | None:
    """Return the level of *pin* (the first is the most significant) at which the function of *table* holds; None for neither."""
    masks, full = logic.columns([str(number) for number in range(pins)])
    mask = masks[str(pin)]
    if table & mask == mask:
        return 1
    return 0 if table & ~mask & full == ~mask & full else None


def _changes(netlist: Netlist, vectors: Mapping[str, np.ndarray]) -> int:
    """Return how often registers change under *vectors*."""
    _, activity = simulate_activity(netlist, vectors)
    registers = {
        instance.pins[pin]
        for instance in netlist.instances
        if netlist.library.cells[instance.cell].flip_flop is not None
        for pin in netlist.library.cells[instance.cell].functions
        if pin in instance.pins
    }
    return sum(activity.toggles.get(net, 0) for net in registers)
