"""Compare processing elements at equal clocks: exact normalization beside an-K-L, by library, pipeline depth and width.

For each clock period the smallest circuit is looked for on both sides in the same way (``sweep``: two forms of the RTL, two
kinds of adders, five scripts, several delays to map for, sizing); its netlist is checked against the reference on a tile of a
real model, whose toggles give the power. Results are kept in ``build/element_area``, a file a configuration: what is there is
not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, met, note, table, write

from approxhw.backends.estimate import CellLibrary, Surroundings, load_library, simulate_activity, sweep, synthesise
from approxhw.backends.estimate.clock_sweep import Point
from approxhw.backends.estimate.estimator import estimate_netlist
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.matrix_engine.templates import element_verilog
from approxhw.engine.matrix.element_feed import Stimulus, stimulus
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.codes import to_codes

DEFAULT = Path("../shared/liberty")
LIBRARIES = ("sky130hd_tt.lib.gz", "sg13g2_typ_1v20.lib.gz")
KEPT = Path("build/element_area")
AROUND = Surroundings(clocked_inputs=True, wires=False)
"""Both sides are compared without wires, as among themselves ABC sees them."""

VARIANTS = ({"FAST": 1}, {"FAST": 2})
"""FAST = 0, carries that ripple, never gave the smallest circuit where it was tried (sky130, depth 3): it is left out."""
FACTORS = (1.02, 1.06, 1.1, 1.15, 1.2, 1.35, 1.6, 2.0)
"""Periods, in that of the fastest circuit with exact normalization and W = 20."""
SHORTEST = 5
"""So many of them, up to a fifth longer, are what a design for speed would choose."""
SEARCHES = (
    (FACTORS[:SHORTEST], ("kept", "levels", "balanced"), 5),
    (FACTORS[SHORTEST:], ("balanced", "levels", "flow", "area"), 3),
)
"""Periods that are looked at together, the scripts that come into question, and for how many delays each of them maps."""
BEYOND = 0.75
"""One period more, in the first of them, which nobody meets: what comes nearest is a fastest circuit."""
RELAXED_NS = 20.0
"""The clock at which circuits of the reference recipe, mapped for area alone, are compared."""
FORMAT, EXACT, W, DEPTH = "bf16", "exact", 20, 3
CHOSEN = "an-1-2"
APPROXIMATE = ("an-1-1", CHOSEN, "an-2-2")
LIMITED = (FloatMac(FORMAT, 16, CHOSEN, 3),)
FURTHER = (FloatMac(FORMAT, 16, CHOSEN), *LIMITED, FloatMac(FORMAT, 16, "an-1-1"), FloatMac("e4m3", 16, CHOSEN))
"""What else may stand in the place of exact normalization with W = 20, where accuracy allows it."""
STEPPED = (
    FloatMac(FORMAT, W, "an-4", None, 4),
    FloatMac(FORMAT, 16, "an-4", None, 4),
    FloatMac(FORMAT, W, "an-0", None, 4),
    FloatMac(FORMAT, 16, "an-0", None, 4),
    FloatMac(FORMAT, 24, EXACT, None, 4),
    FloatMac(FORMAT, W, EXACT, None, 4),
    FloatMac(FORMAT, W, CHOSEN, None, 1),
)
"""Exponents in multiples of a step, products as they stand; that of 24 bits loses no more in any step than exact with 20."""
AREA, POWER, AIM, AIM_OF_STEPS = 0.16, 0.13, 0.30, 0.20
POSITIONS, ROWS = 12, 150


@dataclass(frozen=True)
class Setting:
    """One element on one library; periods are those of its library and depth."""

    library: str
    depth: int
    mac: FloatMac

    @property
    def name(self) -> str:
        """Return what its file is called."""
        form = "" if self.mac.format == FORMAT else f"{self.mac.format}-"
        limited = "" if self.mac.alignment is None else f"-align-{self.mac.alignment}"
        steps = "" if self.mac.exponent_step is None else f"-by-{self.mac.exponent_step}"
        return f"{self.library}-{self.depth}-{form}{self.mac.accumulator_bits}-{self.mac.normalization}{limited}{steps}"


def main() -> None:
    """Measure what is not measured yet, print, and write the result after every configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--liberty", type=Path, action="append", metavar="PATH", help=f"file, or folder of {LIBRARIES}")
    parser.add_argument("--depth", type=int, action="append", metavar="N", help="pipeline depths (by default 3 and 2)")
    parser.add_argument("--steps", action="store_true", help="exponents in steps, into a result of their own")
    parser.add_argument(
        "--only", metavar="WORD", help="measure what has it in its name; of all else, take what is kept"
    )
    parser.add_argument("--quick", action="store_true", help="one library, one depth, two clocks; nothing is written")
    given = parser.parse_args()
    files = liberty_files(given.liberty or [DEFAULT])
    if not files:
        note(f"skipped: {given.liberty or DEFAULT} has none of {', '.join(LIBRARIES)}; name one with --liberty")
        return
    depths = given.depth or [DEPTH, 2]
    files, depths = (files[:1], depths[:1]) if given.quick else (files, depths)
    libraries = {file.name.split(".")[0]: load_library(file) for file in files}
    operands = digits_operands()
    results: dict[Setting, dict[str, Any]] = {}
    chosen = stepped(tuple(libraries), depths) if given.steps else settings(tuple(libraries), depths, given.quick)
    for setting in chosen:
        cells = libraries[setting.library]
        periods = clocks(setting, cells, given.quick)
        only_kept = given.only is not None and given.only not in setting.name
        found = measured(setting, cells, periods, operands, given.quick, only_kept)
        if found is None:
            continue
        results[setting] = found
        if given.quick:
            note("\n".join(report(results)))
        else:
            write("element_steps" if given.steps else "element_area", report(results, " --steps" * given.steps))


def liberty_files(paths: Sequence[Path]) -> list[Path]:
    """Return the Liberty files that *paths*, files and folders, stand for."""
    found = [file for path in paths for file in ([path] if path.is_file() else [path / name for name in LIBRARIES])]
    return [file for file in found if file.is_file()]


def settings(libraries: Sequence[str], depths: Sequence[int], quick: bool) -> list[Setting]:
    """Return what is measured, the most telling first."""
    first = [FloatMac(FORMAT, W, each) for each in (EXACT, CHOSEN)]
    if quick:
        return [Setting(library, depth, mac) for library in libraries for depth in depths for mac in first]
    narrow = [*FURTHER, FloatMac(FORMAT, 16, EXACT)]
    others = [FloatMac(FORMAT, W, each) for each in APPROXIMATE if each != CHOSEN]
    wide = [FloatMac(FORMAT, 24, each) for each in (EXACT, CHOSEN)]
    chosen: list[Setting] = []
    for macs, at in (
        (first, depths[:1]),
        (narrow, depths[:1]),
        (first, depths[1:]),
        (others, depths),
        (wide, depths[:1]),
    ):
        chosen += [Setting(library, depth, mac) for depth in at for library in libraries for mac in macs]
    return chosen


def stepped(libraries: Sequence[str], depths: Sequence[int]) -> list[Setting]:
    """Return what is measured of exponents in steps, and what stands beside it."""
    beside = [FloatMac(FORMAT, W, each) for each in (EXACT, CHOSEN)]
    return [
        Setting(library, depth, mac)
        for depth in depths
        for macs in ((beside[0], *STEPPED[:2]), (beside[1], *STEPPED[2:]))
        for library in libraries
        for mac in macs
    ]


def digits_operands() -> tuple[np.ndarray, np.ndarray]:
    """Return what layer 0 of a perceptron on scikit-learn's scaled digits multiplies: rows × 64, 64 × 32."""
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    x, y = load_digits(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier((32,), max_iter=60, random_state=0).fit(x[:1200], y[:1200])
    return x[1200 : 1200 + ROWS], model.coefs_[0]


def clocks(setting: Setting, cells: CellLibrary, quick: bool) -> list[float]:
    """Return the periods (ps) of a library and depth, ascending, from those of the fastest exact element."""
    verilog = element_verilog(FloatMac(FORMAT, W, EXACT), setting.depth)
    options: dict[str, Any] = {"scripts": ("kept",), "variants": VARIANTS[:1]} if quick else {"variants": VARIANTS}
    options["around"] = AROUND
    file = KEPT / f"{setting.library}-{setting.depth}-fastest{'-quick' * quick}.json"
    kept = read(file, verilog)
    if kept is None:
        (point,) = sweep(verilog, "mac_element", cells, [1.0], on_progress=told(file.stem), **options)
        kept = keep(file, verilog, {"delay_ps": point.delay_ps, "area_um2": point.area_um2})
    factors = FACTORS[1::3] if quick else FACTORS
    return [math.ceil(kept["delay_ps"] * factor / 10) * 10.0 for factor in factors]


def measured(
    setting: Setting,
    cells: CellLibrary,
    periods: Sequence[float],
    operands: tuple[np.ndarray, np.ndarray],
    quick: bool,
    only_kept: bool = False,
) -> dict[str, Any] | None:
    """Return, and keep, the smallest circuit of *setting* for each period, with its power, and the unconstrained one.

    *only_kept*: None where it is not kept already.
    """
    verilog = element_verilog(setting.mac, setting.depth)
    options: dict[str, Any] = {"variants": VARIANTS, "sized": 8, "around": AROUND}
    searches = [(list(periods), ("balanced", "kept"), 2)]
    if not quick:
        period_of = dict(zip(FACTORS, periods, strict=True))
        searches = [([period_of[factor] for factor in factors], *how) for factors, *how in SEARCHES]
    searches[0][0].insert(0, BEYOND * periods[0])
    file, made_from = KEPT / f"{setting.name}{'-quick' * quick}.json", f"{verilog}{searches}{options}"
    kept = read(file, made_from)
    if kept is not None or only_kept:
        return kept
    a, b = (to_codes(each, setting.mac.format) for each in operands)
    spread = np.linspace(0, a.shape[1] - 1, POSITIONS).round().astype(int)
    fed = stimulus(setting.mac, setting.depth, a, b, [(int(k), int(5 * k % b.shape[1])) for k in spread])
    points: list[Point] = []
    for among, scripts, count in searches:
        chosen: dict[str, Any] = {**options, "scripts": scripts, "targets": count}
        points += sweep(verilog, "mac_element", cells, among, on_progress=told(file.stem), **chosen)
    found: dict[str, Any] = {"fastest_ps": points[0].delay_ps, "fastest_um2": points[0].area_um2, "points": []}
    for period in periods:
        within = [point for point in points if point.delay_ps <= period]
        entry: dict[str, Any] = {"period_ps": period, "met": bool(within)}
        if within:
            point = min(within, key=lambda each: (each.area_um2, each.delay_ps))
            entry |= {"area_um2": point.area_um2, "made": f"FAST = {point.variant['FAST']}, {point.script}"}
            entry |= power(point.netlist, fed, period * 1e-3)
        found["points"].append(entry)
    free = synthesise(verilog, "mac_element", cells)
    found["free"] = {"area_um2": free.area() * 1e6, **power(free, fed, RELAXED_NS)}
    return keep(file, made_from, found)


def power(netlist: Netlist, fed: Stimulus, clock_ns: float) -> dict[str, Any]:
    """Check *netlist* on the tile, and return its power at the clock, and how many states were compared."""
    outputs, _ = simulate_activity(netlist, fed.vectors)
    seen = np.asarray(outputs["state_out"]).astype(np.int64)
    compared = int(fed.plain.sum())
    if fed.flags.any() or not compared or (seen != fed.expected)[fed.plain].any():
        raise SystemExit("the netlist does not do what the reference does: figures of it mean nothing")
    cost = estimate_netlist(netlist, vectors=fed.vectors, vectors_from="digits", clock_ns=clock_ns)
    return {
        "power_mw": cost.power_mw,
        "static_mw": cost.static_power_mw,
        "delay_ps": cost.delay_ns * 1e3,
        "compared": compared,
    }


def report(results: Mapping[Setting, Mapping[str, Any]], flags: str = "") -> list[str]:
    """Return the parts of the result file."""
    groups = sorted({(each.library, each.depth) for each in results}, key=lambda each: (-each[1], each[0]))
    compared = sum(
        point.get("compared", 0) for found in results.values() for point in [*found["points"], found["free"]]
    )
    parts = [
        "# Elements at equal clocks\n",
        f"    python benchmarks/element_area.py --liberty ../shared/liberty{flags}\n",
        "Area (µm²) of the smallest processing element found for each clock period, bf16 if not said, and its power (mW at",
        "that clock, leakage and ½CV² of the toggles of a tile: layer 0 of a perceptron on scaled digits). Both sides of a",
        "comparison have the same depth and registers, and the best of two forms of the RTL, two kinds of adders and five",
        "scripts. Periods come from the fastest circuit that exact normalization with W = 20 has. — : no circuit met the period.",
        f"{compared:,} states of mapped netlists were compared with the reference, and all were equal. {machine()}\n",
        targets(results),
    ]
    for library, depth in groups:
        here = {each.mac: found for each, found in results.items() if (each.library, each.depth) == (library, depth)}
        parts += [f"\n## {library}, depth {depth}\n", curves(here)]
    return parts


def curves(here: Mapping[FloatMac, Mapping[str, Any]]) -> str:
    """Return a table: a row for each clock, area and power of each configuration beside exact ones of the same width."""
    order = sorted(
        here,
        key=lambda mac: (
            mac.format != FORMAT,
            mac.accumulator_bits != W,
            mac.accumulator_bits,
            mac.exponent_step or 0,
            mac.normalization != EXACT,
            -(mac.alignment or 5),
            mac.normalization,
        ),
    )
    titles = ["clock"] + [called(mac) for mac in order]
    rows: list[list[str]] = []
    count = len(next(iter(here.values()))["points"])
    for number in range(count):
        period = here[order[0]]["points"][number]["period_ps"]
        rows.append([f"{period / 1e3:.2f} ns"] + [cell(here, mac, number) for mac in order])
    rows.append(["area alone"] + [cell(here, mac, None) for mac in order])
    fastest = [f"{here[mac]['fastest_ps'] / 1e3:.2f} ns, {here[mac]['fastest_um2']:.0f}" for mac in order]
    return table(titles, [*rows, ["fastest", *fastest]])


def called(mac: FloatMac) -> str:
    """Return how *mac* is called in tables."""
    form = "" if mac.format == FORMAT else f"{mac.format}, "
    limited = "" if mac.alignment is None else f", align-{mac.alignment}"
    steps = "" if mac.exponent_step is None else f", by-{mac.exponent_step}"
    return f"{form}{mac.normalization}, W = {mac.accumulator_bits}{limited}{steps}"


def cell(here: Mapping[FloatMac, Mapping[str, Any]], mac: FloatMac, number: int | None) -> str:
    """Return area and power of *mac* at a clock, and what they are beside exact normalization of the same width."""
    own = at(here[mac], number)
    if own is None:
        return "—"
    text = f"{own['area_um2']:.0f}, {own['power_mw']:.2f} mW"
    exact = FloatMac(mac.format, mac.accumulator_bits, EXACT)
    other = at(here[exact], number) if mac != exact and exact in here else None
    if other is None:
        return text
    return f"{text} ({own['area_um2'] / other['area_um2'] - 1:+.1%}, {own['power_mw'] / other['power_mw'] - 1:+.1%})"


def at(found: Mapping[str, Any], number: int | None) -> Mapping[str, Any] | None:
    """Return what was found for a clock (None: for area alone), or None where it was not met."""
    point: Mapping[str, Any] = found["free"] if number is None else found["points"][number]
    return point if "area_um2" in point else None


def targets(results: Mapping[Setting, Mapping[str, Any]]) -> str:
    """Return the table of what is to be reached, over the clocks that both sides meet."""
    rows: list[list[str]] = []
    for mac in (FloatMac(FORMAT, W, CHOSEN), *FURTHER, *STEPPED):
        for setting, found in results.items():
            exact = results.get(Setting(setting.library, setting.depth, FloatMac(FORMAT, W, EXACT)))
            if setting.mac == mac and exact is not None:
                title = f"{called(mac)}; {setting.library}, depth {setting.depth}"
                aim = AREA if mac == FloatMac(FORMAT, W, CHOSEN) else AIM_OF_STEPS if mac.accumulator_bits >= W else AIM
                rows += compared_rows(title, exact, found, aim)
    return table(["beside exact, W = 20", "clock", "area", "target", "power", "target"], rows)


def compared_rows(title: str, exact: Mapping[str, Any], found: Mapping[str, Any], area: float) -> list[list[str]]:
    """Return rows: the clock with the most saved area, and means over the shortest clocks and over all; *area*: the aim."""
    saved: dict[float, tuple[float, float]] = {}
    for ours, theirs in zip(found["points"], exact["points"], strict=True):
        if ours["met"] and theirs["met"]:
            ratios = [1 - ours[key] / theirs[key] for key in ("area_um2", "power_mw")]
            saved[ours["period_ps"]] = (ratios[0], ratios[1])
    if not saved:
        return []
    best = max(saved, key=lambda period: saved[period])
    first = sorted(saved)[:SHORTEST]
    mean, quick = (
        [float(np.mean([saved[each][place] for each in among])) for place in (0, 1)] for among in (saved, first)
    )
    watts = POWER if area == AREA else None
    rows = []
    clocks = (
        (f"{best / 1e3:.2f} ns, the best", saved[best]),
        (f"mean of the {len(first)} shortest", quick),
        (f"mean of {len(saved)}", mean),
    )
    for clock, (less, cooler) in clocks:
        second = "" if watts is None else f"-{watts:.0%}: {met(cooler >= watts)}"
        rows.append([title, clock, f"{-less:+.1%}", f"-{area:.0%}: {met(less >= area)}", f"{-cooler:+.1%}", second])
    return rows


def read(file: Path, made_from: str) -> dict[str, Any] | None:
    """Return what *file* keeps, if it was made from the same Verilog and periods."""
    if not file.is_file():
        return None
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept if kept["made_from"] == digest(made_from) else None


def keep(file: Path, made_from: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write *found* to *file*, and return it."""
    kept = {"made_from": digest(made_from), **found}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


def digest(text: str) -> str:
    """Return what tells one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def told(name: str) -> Any:
    """Return what says how far the sweep of *name* is."""
    return lambda step, done, total: note(f"{name}: {step} {done} of {total}") if done % 5 == 0 else None


if __name__ == "__main__":
    main()
