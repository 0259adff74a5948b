"""Compare 8 × 8 multipliers by one ruler: our families beside exact ones, and a user's copy of EvoApproxLib beside them.

Area, power and delay in cells of sky130, mapped for area by the reference recipe; power of all pairs of operands, once each, in a
seeded order. Our netlists are held to their references for every pair on the way. EvoApproxLib: Mrazek, Hrbacek, Vasicek,
Sekanina, DATE 2017; its figures here are those of our ruler.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import RESULTS, clock, machine, note, table, write

from approxhw.flow.multipliers.measure import MeasuredMultiplier, MeasuredMultipliers, measure_multipliers
from approxhw.flow.multipliers.write_report import multiplier_rows, ruler
from approxhw.report.multipliers.page import plots_of

OURS = (
    "exact",
    "truncated-0",
    *(f"truncated-{columns}" for columns in (2, 4, 5, 6, 7, 8)),
    *(f"truncated-{columns}-corrected" for columns in (6, 7, 8)),
    *(f"broken-array-{v}-{h}" for v, h in ((4, 1), (6, 2), (8, 3))),
    "logarithmic",
    "logarithmic-balanced",
    *(f"leading-{digits}" for digits in (3, 4, 5, 6)),
    "rounded",
)
SIGNS = (("both", "8x8_signed"), ("none", "8x8_unsigned"))
"""Signs of both operands, and how the folder of EvoApproxLib is called that has such multipliers."""


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--evoapprox", type=Path, metavar="FOLDER", help="the copy of that library: its 8x8 folders are read"
    )
    given = parser.parse_args()
    parts = [
        "# Multipliers by one ruler\n",
        f"    python benchmarks/operators.py{' --evoapprox FOLDER' * bool(given.evoapprox)}\n",
    ]
    parts.append(__doc__.split("\n\n")[1].strip() + f" {machine()}\n")
    for signed, folder in SIGNS[: 2 if given.evoapprox else 1]:
        theirs = [path for path in given.evoapprox.rglob(folder) if path.is_dir()] if given.evoapprox else []
        with clock() as seconds:
            found = measure_multipliers(*OURS, *theirs, signed=signed, weight_bits=8, x_bits=8, on_progress=told)
        parts += section(found, signed, seconds.cpu)
        picture = plots_of(
            multiplier_rows(found), f"8 × 8 multipliers, operands {'' if signed == 'both' else 'un'}signed"
        )
        (RESULTS / f"operators_{signed}.svg").write_text(picture["power"], encoding="utf-8")
    write("operators", parts)


def told(name: str, done: int, total: int) -> None:
    """Say how far it is."""
    note(f"{name}: {done} of {total}")


def section(found: MeasuredMultipliers, signed: str, seconds: float) -> list[str]:
    """Return the table of one kind of operands, the cheapest exact one as the whole of areas and powers."""
    exact = [each for each in found.operators if not each.figures.worst_distance and each.cost is not None]
    power = min(each.cost.power_mw or 0.0 for each in exact if each.cost)
    area = min(each.cost.area_mm2 for each in exact if each.cost)
    front = found.front("power_mw")
    title = "Both operands signed" if signed == "both" else "Both operands unsigned"
    titles = (
        "multiplier",
        "MAE %",
        "WCE %",
        "MRE %",
        "EP %",
        "bias",
        "area µm²",
        "power mW",
        "delay ns",
        "area",
        "power",
        "front",
    )
    rows = [
        row(each, area, power, each in front)
        for each in sorted(found.operators, key=lambda e: (e.figures.mean_share, e.name))
    ]
    best = sum(each.kind == "ours" for each in front)
    left = f" {len(found.broken)} files of the library are none that can be read by themselves." if found.broken else ""
    return [
        f"## {title}\n",
        f"{ruler(found)}. Area and power beside the least of an exact one.",
        f"{len(found.operators)} multipliers in {seconds:.0f} s of CPU time; of the {len(front)} that none beats in MAE and",
        f"power, {best} are ours.{left}\n",
        f"![MAE and power](operators_{signed}.svg)\n",
        table(titles, rows),
    ]


def row(each: MeasuredMultiplier, area: float, power: float, in_front: bool) -> list[str]:
    """Return the figures of a multiplier; *area* and *power* are those of an exact one."""
    figures, cost = each.figures, each.cost
    shares = (figures.mean_share, figures.worst_share, figures.mean_relative, figures.error_rate)
    errors = [f"{100 * share:.3g}" for share in shares]
    name = f"`{each.name}`" if each.kind == "ours" else each.name
    if cost is None:
        return [name, *errors, f"{figures.bias:.4g}", *[""] * 5, ""]
    mw = cost.power_mw or 0.0
    costs = [f"{cost.area_mm2 * 1e6:.0f}", f"{mw:.4f}", f"{cost.delay_ns:.2f}"]
    return [
        name, *errors, f"{figures.bias:.4g}", *costs,
        f"{100 * (cost.area_mm2 / area - 1):+.1f}%", f"{100 * (mw / power - 1):+.1f}%", "yes" * in_front,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
