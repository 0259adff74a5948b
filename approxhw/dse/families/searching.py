"""The search of families that are fitted by recipes: rows become codes, folds judge every recipe, family after family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from approxhw.artifacts.objectives import Objective
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import InvalidDataError, OptionError, Problem
from approxhw.dse.rules.recipe_study import FOLDS, RecipeStudy, joined_studies
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassContext, PassRecord, run_passes
from approxhw.networks.trees.columns import MOST_BITS
from approxhw.passes.quantize.quantize_inputs import QuantizeInputs

from .family import Facts
from .kept_folds import Watch, study_family

SYSTEM = ("converters", "system-area", "system-power")
"""Objectives that converters count for."""


@dataclass(frozen=True, eq=False)
class Studied:
    """What folds said of all recipes of some families, and all that their circuits are fitted on."""

    study: RecipeStudy
    owners: tuple[str, ...]
    """The family of each recipe."""
    facts: Facts
    codes: np.ndarray
    ledger: tuple[PassRecord, ...]
    """Of what made the codes."""
    missing: tuple[str, ...]
    """Families that were not begun, since the search was ended."""

    @property
    def interrupted(self) -> bool:
        """Whether the search was ended before all folds had judged all recipes."""
        return bool(self.missing) or not self.study.whole


def check_rows(data: Dataset, names: Sequence[str]) -> None:
    """Raise :class:`InvalidDataError` where the training rows of *data* are too few for the folds of families called *names*."""
    count, fewest = len(data.y_train), 2 * FOLDS
    if count < fewest:
        why = f"{count} training rows are too few for the {FOLDS} folds that judge families {', '.join(names)}"
        raise InvalidDataError(data.name, [Problem("X_train", why, f"give at least {fewest} rows, or --families mlp")])


def coding_of(passes: Sequence[Pass], names: Sequence[str]) -> QuantizeInputs:
    """Return what makes codes of readings for families called *names*: as *passes* do it, and without a look at labels.

    So folds may share the codes. Raises :class:`OptionError` for codes that no tree is learnt on.
    """
    found = next((each for each in passes if isinstance(each, QuantizeInputs)), QuantizeInputs())
    wrong = []
    if found.bits > MOST_BITS:
        why = f"{', '.join(names)} are learnt on codes of at most {MOST_BITS} bits, not {found.bits}"
        wrong.append(Problem("input_bits", why, f"give {MOST_BITS} or fewer, or --families mlp"))
    if found.code in ("thermometer", "borders"):
        why = f"{', '.join(names)} are learnt on codes of whole levels, not on {found.code} ones"
        wrong.append(Problem("input_code", why, "--objectives errors,system-area gives trees thermometers"))
    if wrong:
        raise OptionError("search", wrong)
    return found


def study_families(
    names: Sequence[str],
    graph: Graph,
    data: Dataset,
    coding: QuantizeInputs,
    objectives: Sequence[Objective],
    library: str,
    timeout: float,
    seed: int,
    folder: Path,
    watch: Watch,
) -> Studied:
    """Return what folds of the training rows of *data* say of the recipes of all families *names*; *folder* keeps every fit.

    *graph*: the classifier; *coding*: what gives its Input codes. Once ``watch.stop`` says so no more is begun than one family.
    """
    coded, ledger = run_passes(graph, [coding], PassContext(data, graph, library=library))
    codes = codes_of(coded, data.X_train).reshape(len(data.X_train), -1).astype(np.int64)
    system = any(each.name in SYSTEM for each in objectives)
    facts = Facts(coded, len(codes), system, library, timeout)
    studies: dict[str, RecipeStudy] = {}
    for name in names:
        if studies and watch.ended():
            break
        studies[name] = study_family(name, facts, codes, data.y_train, seed, folder, watch)
    owners = tuple(name for name, study in studies.items() for _ in study.recipes)
    missing = tuple(name for name in names if name not in studies)
    return Studied(joined_studies(list(studies.values())), owners, facts, codes, tuple(ledger), missing)
