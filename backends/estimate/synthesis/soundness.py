"""What is wrong with an elaborated design before optimisation hides it: nets without a driver, or with two, and values x."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from approxhw.backends.estimate.netlist.yosys_json import NetBit, YosysModule
from approxhw.common.errors import Problem, shown

from .source import VerilogSource

PROCESSES = "proc -norom -noopt\nchformal -remove\ndelete */t:$print */t:$check"
"""How every front begins: processes become cells, nothing is optimised, and what only prints or asserts goes."""
LOOPS = "tee -q -o loops.log check"
CHECK = "tee -q -o check.log check"
"""What Yosys runs behind the flattening; :func:`read_check` reads the file."""
DRIVE = "setundef -undriven -zero w:*\nsetundef -zero t:$buf"
"""What Yosys runs behind :data:`CHECK` where what nothing drives counts as 0: nets, and :func:`never_assigned` variables."""
OUTPUTS = "dump -o outputs.il o:*"
"""What Yosys runs before undefined values become 0; :func:`undefined_outputs` reads the file."""
ALLOW = "--allow-undriven (allow_undriven=True in Python) counts it as 0"
MAX_NAMED = 40
_UNDRIVEN = re.compile(r"^Warning: Wire (\S+?)\.\\?(\S+)(?: \[(\d+)\])? is used but has no driver\.$", re.MULTILINE)
_CONFLICT = re.compile(
    r"^Warning: multiple conflicting drivers for (\S+?)\.\\?(\S+)(?: \[(\d+)\])?:\n((?:    .*\n?)*)", re.MULTILINE
)
_LOOP = re.compile(r"^Warning: found logic loop in module \S+:\n((?:    .*\n?)*)", re.MULTILINE)
_LOOP_CELL = re.compile(r"^    cell (\S+) \(\S+\)(?: source: (\S+))?", re.MULTILINE)
_IMPLICIT = re.compile(r"Identifier `\\(\S+)' is implicitly declared")
_LATCH = re.compile(r"Latch inferred for signal `\\?(\S+?)\.\\(\S+)' from process")
_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end$", re.MULTILINE | re.DOTALL)
_CONNECT = re.compile(r"^  connect (.*)$", re.MULTILINE)
_UNDEFINED = re.compile(r"\b\d+'[01xzm-]*[xz]")
_CLOCKS = ("CLK", "C")


@dataclass(frozen=True)
class CheckedNets:
    """What Yosys' ``check`` said: ``undriven`` nets with the positions of their bits; ``conflicts``: net and bit → drivers."""

    undriven: Mapping[str, tuple[int, ...]]
    conflicts: Mapping[tuple[str, int], tuple[str, ...]]


def read_check(log: str) -> CheckedNets:
    """Return what *log*, the file that :data:`CHECK` writes, tells."""
    undriven: dict[str, set[int]] = defaultdict(set)
    for found in _UNDRIVEN.finditer(log):
        undriven[found[2]].add(int(found[3] or 0))
    conflicts = {
        (found[2], int(found[3] or 0)): tuple(line.strip() for line in found[4].splitlines())
        for found in _CONFLICT.finditer(log)
    }
    return CheckedNets({name: tuple(sorted(bits)) for name, bits in undriven.items()}, conflicts)


def conflict_problems(
    conflicts: Mapping[tuple[str, int], tuple[str, ...]], module: YosysModule, source: VerilogSource
) -> list[Problem]:
    """Return a problem for all bits of each net of the flattened *module* that several things drive."""
    named = _names_by_bit(module)
    groups: dict[tuple[str, ...], tuple[dict[str, set[int]], dict[str, None]]] = {}
    for (net, position), drivers in conflicts.items():
        bits = module["netnames"][net]["bits"] if net in module["netnames"] else []
        aliases = named.get(bits[position], []) if position < len(bits) else []
        names: dict[str, set[int]] = defaultdict(set)
        for alias, at in aliases or [(net, position)]:
            names[alias].add(at)
        positions, told = groups.setdefault(tuple(sorted(names)), (defaultdict(set), {}))
        for alias, places in names.items():
            positions[alias] |= places
        told.update(dict.fromkeys(_driver(driver, module, source) for driver in drivers))
    problems = []
    for positions, told in list(groups.values())[:MAX_NAMED]:
        where = ", ".join(_spelled(name, tuple(bits), module) for name, bits in list(positions.items())[:4])
        listed = "; ".join(sorted(told)[:4]) + ("; …" if len(told) > 4 else "")
        remedy = "leave one of them; what a register stores is assigned in one always block"
        problems.append(Problem(f"net {where}", f"has several drivers at once: {listed}", remedy))
    return problems


def _names_by_bit(module: YosysModule) -> dict[NetBit, list[tuple[str, int]]]:
    """Return for each bit the names that people know it by: outputs first, then nets of the top, then those inside instances."""
    ranked: dict[NetBit, dict[int, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for name, net in module["netnames"].items():
        port = module["ports"].get(name)
        if net.get("hide_name") or (port is not None and port["direction"] == "input"):
            continue
        rank = 0 if port is not None else 2 if "." in name else 1
        for position, bit in enumerate(net["bits"]):
            ranked[bit][rank].append((name, position))
    return {bit: by_rank[min(by_rank)] for bit, by_rank in ranked.items()}


def _spelled(name: str, bits: tuple[int, ...], module: YosysModule) -> str:
    net = module["netnames"].get(name)
    whole = net is None or len(bits) == len(net["bits"])
    return shown(name) if whole else f"{shown(name)}[{spelled_bits(bits)}]"


def _driver(driver: str, module: YosysModule, source: VerilogSource) -> str:
    """Return what drives, as people see it: an input, or what kind of cell stands where."""
    found = re.search(r"of cell (\S+) \(\$?(\S+)\)$", driver)
    if driver.startswith("module input "):
        return f"input {shown(driver.removeprefix('module input ').rsplit('[', 1)[0], 60)}"
    if found is None or found[1] not in module["cells"]:
        return shown(driver, 80)
    attributes = module["cells"][found[1]].get("attributes", {})
    place = source.place(str(attributes.get("src", ""))) or shown(found[1], 60)
    kind = "a register" if "dff" in found[2] else "an assignment" if found[2] == "buf" else shown(found[2], 40)
    return f"{kind} at {place}"


@dataclass(frozen=True)
class UndrivenNet:
    """A net of which some bits have no driver. ``read``: something looks at one of them; ``matters``: an output depends on it."""

    name: str
    bits: tuple[int, ...]
    width: int
    place: str
    clocks: bool
    read: bool
    matters: bool


def read_loops(log: str) -> list[list[tuple[str, str]]]:
    """Return the cells of each combinational loop that ``check`` wrote of into *log*: their names, and where they stand."""
    return [[(cell[1], cell[2] or "") for cell in _LOOP_CELL.finditer(found[1])] for found in _LOOP.finditer(log)]


def loop_problems(loops: Iterable[list[tuple[str, str]]], module: YosysModule, source: VerilogSource) -> list[Problem]:
    """Return a problem for each of *loops* that outputs of the flattened *module* depend on."""
    drivers, named = _drivers(module), _names_by_bit(module)
    reached = _cone(module, _output_bits(module), drivers)
    problems = []
    for loop in loops:
        bits = [bit for bit, cell in drivers.items() if any(cell == name for name, _ in loop)]
        if not any(bit in reached for bit in bits):
            continue
        names = sorted({name for bit in bits for name, _ in named.get(bit, [])})
        places = list(dict.fromkeys(filter(None, (source.place(place) for _, place in loop))))
        where = ", ".join(shown(name, 60) for name in names[:4]) or f"{len(loop)} gates"
        why = "depends on itself without a register between, so it has no value to measure"
        told = f" ({'; '.join(places[:3])})" if places else ""
        problems.append(Problem(f"loop through {where}", why + told, "break it with a register"))
    return problems


def _output_bits(module: YosysModule) -> list[NetBit]:
    return [bit for port in module["ports"].values() if port["direction"] != "input" for bit in port["bits"]]


def never_assigned(module: YosysModule) -> dict[str, tuple[int, ...]]:
    """Return the variables of SystemVerilog that nothing assigns, with their bits: its front end gives them a constant x."""
    loose = {
        bit
        for cell in module["cells"].values()
        if cell["type"] == "$buf"
        for value, bit in zip(cell["connections"]["A"], cell["connections"]["Y"], strict=True)
        if value == "x"
    }
    found: dict[str, set[int]] = {}
    for bit, names in _names_by_bit(module).items() if loose else ():
        for name, position in names if bit in loose else ():
            found.setdefault(name, set()).add(position)
    return {name: tuple(sorted(bits)) for name, bits in found.items()}


def undriven_nets(
    undriven: Mapping[str, tuple[int, ...]], module: YosysModule, source: VerilogSource
) -> list[UndrivenNet]:
    """Return where the *undriven* nets of the flattened *module* stand, and whether its outputs depend on them."""
    reached, clocks = _cone(module, _output_bits(module), _drivers(module)), _clocks(module)
    looked_at = {
        bit
        for cell in module["cells"].values()
        for pin, bits in cell["connections"].items()
        if cell.get("port_directions", {}).get(pin) == "input"
        for bit in bits
    }
    found = []
    for name, positions in undriven.items():
        net = module["netnames"].get(name)
        bits = [] if net is None else net["bits"]
        read = [bits[position] for position in positions if position < len(bits)]
        place = "" if net is None else source.place(str(net.get("attributes", {}).get("src", "")))
        found.append(
            UndrivenNet(
                name,
                positions,
                len(bits),
                place,
                any(bit in clocks for bit in read),
                any(bit in looked_at for bit in read),
                not read or any(bit in reached for bit in read),
            )
        )
    return found


def _drivers(module: YosysModule) -> dict[NetBit, str]:
    """Return bit → the cell that drives it; pins of unknown direction count as outputs."""
    return {
        bit: name
        for name, cell in module["cells"].items()
        for pin, bits in cell["connections"].items()
        if cell.get("port_directions", {}).get(pin) != "input"
        for bit in bits
    }


def _cone(module: YosysModule, roots: Iterable[NetBit], drivers: Mapping[NetBit, str]) -> set[NetBit]:
    """Return the bits that *roots* depend on, with themselves."""
    waiting, reached, done = list(roots), set[NetBit](), set[str]()
    while waiting:
        bit = waiting.pop()
        if bit in reached:
            continue
        reached.add(bit)
        cell = drivers.get(bit)
        if cell is not None and cell not in done:
            done.add(cell)
            for bits in module["cells"][cell]["connections"].values():
                waiting += bits
    return reached


def _clocks(module: YosysModule) -> set[NetBit]:
    return {
        bit
        for cell in module["cells"].values()
        if "ff" in cell["type"]
        for pin, bits in cell["connections"].items()
        if pin in _CLOCKS
        for bit in bits
    }


def undriven_problem(net: UndrivenNet, implicit: frozenset[str]) -> Problem:
    """Return what to say of a net without a driver that outputs depend on."""
    instance, dot, pin = net.name.rpartition(".")
    where = spelled_net(net)
    remedy = f"connect it; {ALLOW}"
    if net.clocks:
        why = "is a clock, and nothing drives it: its registers never change"
        remedy = f"make it an input, or drive it; {ALLOW}"
    elif net.name in implicit or pin in implicit:
        why = "is read, but declared and driven nowhere: most likely the name is misspelt"
        remedy = f"correct the name; {ALLOW}"
    elif dot:
        why = f"nothing drives it: input {shown(pin)} of instance {shown(instance)} is open, or is driven nowhere"
    elif len(net.bits) < net.width:
        why = f"nothing drives these bits: {len(net.bits)} of {net.width}"
    else:
        why = "is read, and nothing drives it"
    return Problem(where, f"{why}{f' ({net.place})' if net.place else ''}", remedy)


def spelled_net(net: UndrivenNet) -> str:
    """Return ``net y[3:1]``."""
    whole = len(net.bits) == max(net.width, 1)
    return f"net {shown(net.name)}{'' if whole else f'[{spelled_bits(net.bits)}]'}"


def spelled_bits(positions: Iterable[int]) -> str:
    """Return bit positions as Verilog writes them, highest first, such as ``7:3,1``."""
    runs: list[list[int]] = []
    for position in sorted(positions):
        if runs and runs[-1][1] == position - 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return ",".join(f"{high}:{low}" if high > low else f"{low}" for low, high in reversed(runs))


def implicit_nets(log: str) -> frozenset[str]:
    """Return the names that Yosys' *log* says are used and declared nowhere."""
    return frozenset(_IMPLICIT.findall(log))


def latches(log: str) -> list[str]:
    """Return the signals that Yosys' *log* says are kept by latches."""
    return list(dict.fromkeys(f"{net} of module {module}" for module, net in _LATCH.findall(log)))


def may_be_undefined(dump: str, top: str) -> bool:
    """Return whether an output of *top* may have an undefined bit, as *dump*, the file of :data:`OUTPUTS`, tells."""
    return any(
        _UNDEFINED.search(re.sub(r"[\\$]\S+", "", line))
        for module in _MODULE.finditer(dump)
        if module[1] == top
        for line in _CONNECT.findall(module[2])
    )


def undefined_problems(
    optimised: YosysModule, elaborated: YosysModule, undriven: Mapping[str, tuple[int, ...]]
) -> list[Problem]:
    """Return a problem for each output of the *optimised* module with bits that are undefined whatever the inputs are.

    Bits of which *elaborated*, the module before, says that they depend on *undriven* nets are left out: those are told.
    """
    nets = elaborated["netnames"]
    loose = {nets[name]["bits"][at] for name, bits in undriven.items() if name in nets for at in bits}
    drivers = _drivers(elaborated)
    problems = []
    for name, port in optimised["ports"].items():
        if port["direction"] != "output":
            continue
        before = elaborated["ports"][name]["bits"]
        bits = [
            at
            for at, bit in enumerate(port["bits"])
            if bit in ("x", "z") and not (loose and _cone(elaborated, [before[at]], drivers) & loose)
        ]
        if bits:
            where = f"output {shown(name)}" + ("" if len(bits) == len(port["bits"]) else f"[{spelled_bits(bits)}]")
            letter = "z" if all(port["bits"][at] == "z" for at in bits) else "x"
            why = f"is {letter} whatever the inputs are: nothing gives it a value"
            problems.append(Problem(where, why, f"assign it; {ALLOW}"))
    return problems
