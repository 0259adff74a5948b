"""Which multipliers a user names: our own by spelling or pattern, those of other packages, files, patterns of files, folders."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from approxhw.backends.integer_engine.module_checks import COMMENT
from approxhw.common.errors import ApproxhwError, Problem, ProblemsError, shown
from approxhw.common.files import read_bytes
from approxhw.common.options import suggestion
from approxhw.flow.stages.tabulate import MAXIMUM_BYTES
from approxhw.numerics.multipliers.families import EXACT, SPELLED, own_operator, own_spellings
from approxhw.numerics.multipliers.plugins import SUFFIXES, multiplier_names

MOST = 2000
"""Multipliers of one run at most."""


@dataclass(frozen=True)
class MultiplierSource:
    """One multiplier: ``name`` as it is told; ``path`` of its file, None where the name alone says it."""

    name: str
    path: Path | None = None


def multiplier_sources(
    given: Sequence[str | Path], weight_bits: int, x_bits: int
) -> tuple[list[MultiplierSource], list[Problem], list[str]]:
    """Return what *given* names, what is wrong with it, and what is to be known, such as files that hold the same.

    ``weight_bits``, ``x_bits``: of our own operators that a pattern may name. Files below a folder count where they end in
    ``.v``, ``.sv`` or ``.npz``.
    """
    found: dict[MultiplierSource, None] = {}
    problems: list[Problem] = []
    for each in given:
        text = str(each)
        if text == EXACT or own_operator(text) is not None or text in multiplier_names():
            found[MultiplierSource(text)] = None
        elif Path(text).is_dir():
            inside = sorted(path for path in Path(text).rglob("*") if path.suffix in SUFFIXES and path.is_file())
            found.update(dict.fromkeys(MultiplierSource(path.stem, path) for path in inside))
            if not inside:
                why = f"there is no file in it that ends in {', '.join(SUFFIXES)}"
                problems.append(Problem(shown(text, 160), why, "name a folder of multipliers"))
        elif glob.has_magic(text) and not Path(text).exists():
            own = [MultiplierSource(name) for name in own_spellings(weight_bits, x_bits) if fnmatch.fnmatch(name, text)]
            files = [MultiplierSource(path.stem, path) for path in sorted(map(Path, glob.glob(text)))]  # noqa: PTH207
            found.update(dict.fromkeys([*own, *(each for each in files if each.path and each.path.suffix in SUFFIXES)]))
            if not own and not files:
                why = "no file, and none of our own operators, is called so"
                problems.append(Problem(shown(text, 160), why, f"ours are {', '.join(SPELLED)}"))
        elif Path(text).suffix in SUFFIXES:
            found[MultiplierSource(Path(text).stem, Path(text))] = None
        else:
            near = suggestion(text, (EXACT, *own_spellings(weight_bits, x_bits), *multiplier_names()))
            why = f"it is no operator, and no file that ends in {', '.join(SUFFIXES)}{near}"
            problems.append(Problem(shown(text, 160), why, f"ours are exact, {', '.join(SPELLED)}"))
    if len(found) > MOST:
        why = f"there are {len(found)} multipliers; {MOST} are the most"
        return [], [Problem("sources", why, "name fewer, or a folder further down")], []
    kept, notes = _without_copies(list(found))
    return kept, problems, notes


def _without_copies(sources: list[MultiplierSource]) -> tuple[list[MultiplierSource], list[str]]:
    """Return *sources* without files that say the same as earlier ones of their names: libraries have one for every front."""
    seen: set[tuple[str, bytes]] = set()
    kept = []
    for each in sources:
        try:
            text = None if each.path is None else read_bytes(each.path, MAXIMUM_BYTES)
        except OSError:  # told when it is read
            text = None
        if text is not None:
            said = COMMENT.sub("", text.decode("latin-1")) if each.path and each.path.suffix != ".npz" else text.hex()
            key = (each.name, hashlib.sha256("".join(said.split()).encode()).digest())
            if key in seen:
                continue
            seen.add(key)
        kept.append(each)
    left = len(sources) - len(kept)
    return kept, [f"{left} files are left out: earlier ones of their names say the same"] if left else []


def why_broken(source: MultiplierSource, error: ApproxhwError) -> Problem:
    """Return one problem with all that is wrong with *source*; of a tool that failed what it said first and last."""
    where = str(source.path or source.name)
    if not isinstance(error, ProblemsError):
        first, *rest = [text for text in str(error).splitlines() if text.strip()] or [""]
        return Problem(where, shown(f"{first}: {rest[-1].strip()}" if rest else first, 300))
    own = (where, Path(where).name)
    told = [each.why if each.where in own else f"{each.where}: {each.why}" for each in error.problems]
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    remedies = dict.fromkeys(each.remedy for each in error.problems[:3] if each.remedy)
    return Problem(where, f"{'; '.join(told[:3])}{more}", "; ".join(remedies))
