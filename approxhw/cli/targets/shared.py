"""What commands take whatever the target is, and what every target takes of a command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import argument, nested, option
from approxhw.sim.simulators.registry import simulator_names

from .registry import searched_names, target_choices

if TYPE_CHECKING:
    from approxhw.common.data.dataset import DataSource
    from approxhw.ir.pass_manager import Pass

CODES = ("dynamic8", "static8", "mantissa8", "linear8")
"""The 8-bit codes, as Tab completes them; more words may follow each."""
LIBRARIES = "approxhw.backends.estimate.library.load:built_in_libraries"
"""What lists the built-in cell libraries."""
DATA = "NAME.npz, NAME.csv, X.npy,y.npy or sklearn:NAME"


@dataclass(frozen=True)
class CompileOptions:
    """What ``compile`` takes of everybody."""

    model: Path = argument("ONNX file, or the folder of a front")
    output: Path | None = option("design folder", None, short="-o", shown_default="build/NAME")
    no_simulate: bool = option("leave the simulators out", False)
    no_estimate: bool = option("leave synthesis out", False)
    require_tools: bool = option("a missing simulator is an error, not a note", False)
    pick: str | None = option(
        "MODEL is a front: its member knee, chosen, cheapest, within:5% or a number",
        None,
        choices=("chosen", "knee", "cheapest", "within:5%"),
        metavar="MEMBER",
        shown_default="chosen",
    )


@dataclass(frozen=True)
class LabelColumn:
    """Which column of a table holds the labels, as commands ask for it."""

    label: str | None = option(
        "csv: title of the column that holds the labels, or its number, counted from 1",
        None,
        metavar="COLUMN",
        shown_default="label, labels, class, target, y, else the last",
    )

    def of(self, data: str, groups: str | None = None) -> DataSource | str:
        """Return *data* with the columns that are asked for, as :func:`load_dataset` takes it."""
        from approxhw.common.data.dataset import DataSource

        return data if self.label is None and groups is None else DataSource(data, self.label, groups)


@dataclass(frozen=True)
class TargetChoice:
    """What is built, and of which rows: what ``compile`` takes for models."""

    target: str = option("what to build for", "printed", choices=target_choices, metavar="TARGET")
    data: str | None = option(f"{DATA}; ranges come from its training rows", None, metavar="ROWS")
    column: LabelColumn = nested(LabelColumn())
    groups: str | None = option(
        "column that parts the rows into subgroups for the safety report: title, number or array",
        None,
        metavar="COLUMN",
        shown_default="quarters of each feature",
    )

    @property
    def rows(self) -> DataSource | str | None:
        """The rows that are meant, with the columns of their labels and groups."""
        if self.data is None and self.groups is not None:
            raise OptionError("compile", [Problem("--groups", "there are no rows to group", "give them with --data")])
        return None if self.data is None else self.column.of(self.data, self.groups)


@dataclass(frozen=True)
class SearchOptions:
    """What ``search`` takes of everybody."""

    model: Path = argument("ONNX file")
    data: str = option(DATA, metavar="ROWS")
    column: LabelColumn = nested(LabelColumn())
    target: str = option("what to search for", "printed", choices=searched_names, metavar="TARGET")
    output: Path | None = option("front folder", None, short="-o", shown_default="build/NAME-front")

    @property
    def rows(self) -> DataSource | str:
        """The rows that are meant, with the column of their labels."""
        return self.column.of(self.data)


@dataclass(frozen=True)
class SimulateOptions:
    """What ``simulate`` takes of everybody."""

    design: Path = argument("folder of a design")
    simulator: str = option("icarus or verilator", "verilator", choices=simulator_names, metavar="SIMULATOR")
    seed: int = option("seed of random vectors and pauses", 1)
    timeout: float = option("seconds for all of it", 600.0, least=0, above=True)


@dataclass(frozen=True)
class EstimateOptions:
    """What ``estimate`` takes of everybody."""

    design: Path = argument("folder of a design, or a file of Verilog")
    library: str | None = option(
        "egfet, egfet_0v6, sky130 or a Liberty file",
        None,
        choices=LIBRARIES,
        metavar="LIBRARY",
        shown_default="the design's, else egfet",
    )
    liberty: Path | None = option("a Liberty file (.lib or .lib.gz) as the library", None)
    timeout: float = option("seconds a tool may take", 600.0, least=0, above=True)

    @property
    def cells(self) -> str | Path | None:
        """The library that is meant."""
        return self.liberty or self.library


@dataclass(frozen=True)
class Measure:
    """How a circuit is synthesised and driven: what ``estimate`` takes for printed designs and for Verilog."""

    frequency: float | None = option("vectors per second", None, shown_default="the library's, 5 for printed")
    clock_ns: float | None = option("clock period in ns: tells the slack; a vector a clock", None)
    recipe: str = option(
        "reference, smallest, or timed (for --clock-ns)", "reference", choices=("reference", "smallest", "timed")
    )


@dataclass(frozen=True)
class OpenSizes:
    """Sizes of inputs that the model leaves open."""

    shape: tuple[str, ...] = option(
        "sizes of an input that the model leaves open: NAME=1x128", (), metavar="NAME=SIZES"
    )

    def sizes(self) -> dict[str, tuple[int, ...]] | None:
        """Return the sizes by input; None where none is given."""
        from approxhw.engine.matrix.api import parse_shapes

        return parse_shapes(self.shape) or None


def whose_design(folder: Path) -> str:
    """Return whose design is in *folder*; a folder without one is refused before anybody looks at options for one target."""
    from approxhw.flow.compile import open_folder
    from approxhw.flow.stages.targets import target_in

    owner = target_in(folder)
    if owner == "printed" and not (folder / "design.json").exists():
        open_folder(folder)  # raises: it says what is missing
    return owner


def page_anew(folder: Path) -> None:
    """Write the page of the design in *folder* anew where one is there: it tells what was not known before."""
    from approxhw.flow.compile import open_folder

    if (folder / "report.html").is_file():
        open_folder(folder).report()


def voided_problems(said: Collection[str], voided: Collection[str]) -> list[Problem]:
    """Return a problem for each option that was *said* though ``--passes`` makes it of no use."""
    why = "does nothing beside --passes, which says every pass and its options"
    remedy = "write it into the list, such as quantize-weights{bits=6}, or leave --passes out"
    return [Problem(f"--{name.replace('_', '-')}", why, remedy) for name in said if name in voided]


class AskedSteps(TypedDict):
    """What :class:`Steps` asks ``approxhw.compile`` for."""

    passes: tuple[Pass, ...] | None
    steps: bool
    from_step: int | None


@dataclass(frozen=True)
class Steps:
    """Which passes run, and from where: what ``compile`` takes for every target."""

    passes: str | None = option(
        "passes instead of the target's, such as fold-affine,quantize-weights{bits=6}", None, metavar="PASSES"
    )
    steps: bool = option("keep the Graph after every pass in steps/", False)
    from_step: int | None = option("start behind this step of the design that is in the folder already", None)

    def problems(self, said: Collection[str] = (), voided: Collection[str] = ()) -> list[Problem]:
        """Return what is wrong with the passes; *voided*: what they make of no use, if it was *said*."""
        found = voided_problems(said, voided) if self.passes else []
        try:
            self.asked()
        except OptionError as error:
            found += error.problems
        return found

    def asked(self) -> AskedSteps:
        """Return all that as ``approxhw.compile`` takes it."""
        from approxhw.ir.pass_manager import parse_passes

        passes = parse_passes(self.passes) if self.passes else None
        return {"passes": passes, "steps": self.steps, "from_step": self.from_step}
