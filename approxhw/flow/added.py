"""How the flow serves targets of other packages: they build files of the Graph behind their passes; the rest is ours."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from approxhw.artifacts.built_files import NAME, BuiltFiles, BuiltRecord, check_built_output, read_built, write_built
from approxhw.artifacts.folder import Plain, as_json, json_text, place_in
from approxhw.artifacts.results import Verdict, estimate_file, estimates, verdicts
from approxhw.common.arguments import checked, told
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import ApproxhwError, MismatchError, OptionError, Problem, shown
from approxhw.common.files import locked, write_beside
from approxhw.common.options import spell_call
from approxhw.common.plugins import broken, failed, package_of
from approxhw.common.tools import deadline
from approxhw.common.version import __version__
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassRecord
from approxhw.sim.simulators.registry import simulator_named

from .printed.building import circuit_context
from .printed.reading import OpenedClassifier, check_classifier, counts, prepare, read_classifier
from .stages.protocol import Asked, Clock, Flow, Ledger, Lowered, Option, Source, Steps
from .stages.targets import BUILT_IN, entry_of, parse_target

if TYPE_CHECKING:
    from approxhw.artifacts.design import Model
    from approxhw.backends.estimate import Estimate


class AddedTarget(Protocol):
    """What a target of another package is: a frozen dataclass whose fields are its options.

    The first line of its docstring says what it builds. Each field has a default, and ``metadata={"help": …}``. It may have
    a method ``simulate(folder, simulator, timeout)``, too: it proves the files in *folder* (``files/…``) equal to what they
    were built of, and returns an :class:`approxhw.artifacts.results.Verdict`.
    """

    name: ClassVar[str]

    def passes(self) -> Sequence[Pass]:
        """Return the passes that make of a float Graph what :meth:`build` takes; the user's ``--passes`` replace them."""
        ...

    def build(self, graph: Graph, data: Dataset | None) -> Mapping[str, str | bytes]:
        """Return the files that *graph* becomes, by name (``rtl/top.v``).

        ``graph``: what the passes made, verified. ``data``: the user's rows, training and test. Raises the errors of
        :mod:`approxhw.common.errors`, such as :class:`UnsupportedModelError` listing every node that it cannot build.
        """
        ...


@dataclass(frozen=True)
class CompiledFiles:
    """The folder of what another package's target built: ``built`` is its files, and the record of how they came about."""

    built: BuiltFiles

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return self.built.folder

    @property
    def files(self) -> Mapping[str, bytes]:
        """What the target wrote, by name."""
        return self.built.files

    @property
    def record(self) -> Mapping[str, Plain]:
        """What stands in ``target.json``, digests left out."""
        plain: dict[str, Plain] = as_json(self.built.record)
        return {key: value for key, value in plain.items() if key not in ("format", "files")}

    @property
    def verilog(self) -> str:
        """Its Verilog files as one text."""
        texts = [data.decode("utf-8", "replace") for name, data in self.files.items() if name.endswith(".v")]
        return "\n".join(texts)

    @checked("simulate")
    def simulate(self, simulator: str = "verilator", **options: Option) -> Verdict:
        """Let the target prove its files on *simulator*; *options* are the target's (``timeout`` by default, in seconds).

        The verdict is kept. Raises :class:`OptionError` where the target does not say how.
        """
        told = {"timeout": 600.0, **options}
        with locked(self.folder), deadline(told["timeout"]):
            return self._simulated(simulator, told)

    def _simulated(self, simulator: str, options: Mapping[str, Option]) -> Verdict:
        simulator_named(simulator)
        name = self.built.record.target
        target = parse_target(self.built.record.spelled)
        prove = getattr(target, "simulate", None)
        if not callable(prove):
            why = f"target {shown(name)} does not say how its files are simulated"
            raise OptionError("simulate", [Problem("target", why, "its authors give it a method simulate")])
        entry = entry_of(name)
        file = place_in(self.folder, f"simulation/{simulator}/verdict.json")
        try:
            verdict = prove(self.folder, simulator, **options)
        except ApproxhwError:
            raise
        except Exception as error:
            if entry is None:
                raise
            raise failed(entry, f"simulating {shown(self.folder.name)}", error) from error
        if not isinstance(verdict, Verdict) or verdict.vectors < 1:
            why = "it compared no vector" if isinstance(verdict, Verdict) else "its verdict is no Verdict"
            found = OptionError("simulate", [Problem(f"target {shown(name)}", why)])
            raise found if entry is None else broken(entry, why)
        write_beside(file, json_text(verdict))
        if verdict.mismatches:
            where = Path(verdict.mismatch_file) if verdict.mismatch_file else file
            what = f"target {shown(name)} on {simulator}"
            remedy = f"tell the authors of the target, {package_of(entry) if entry else 'whoever wrote it'}"
            raise MismatchError(what, verdict.mismatches, verdict.vectors, where, remedy)
        return verdict

    @checked("estimate")
    def estimate(self, library: str | Path | None = None, *, top: str | None = None, **options: Option) -> Estimate:
        """Measure its Verilog files by the ruler of our own designs: :func:`approxhw.flow.stages.measure.estimate_text`."""
        from .stages.measure import estimate_text

        if not self.verilog:
            why = f"target {shown(self.built.record.target)} built no Verilog file (.v)"
            raise OptionError("estimate", [Problem("files", why, "there is nothing to measure")])
        found = estimate_text(self.verilog, top, library or "egfet", **options)
        kept = {**found.as_json(), "by_layer": []}
        with locked(self.folder):
            write_beside(place_in(self.folder, estimate_file(found.library)), json_text(kept))
        return found

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        from approxhw.report.files_page import render_files
        from approxhw.report.page import write_page

        path = self.folder / "report.html"
        name = shlex.quote(str(self.folder))
        record = self.built.record
        command = record.command or f"approxhw compile MODEL --target {shlex.quote(record.spelled)} -o {name}"
        sizes = {file: len(data) for file, data in self.files.items()}
        found = estimates(self.folder)
        cost, commands = (found[-1] if found else None), [command, f"approxhw report {name}"]
        page = render_files(self.record, sizes, verdicts(self.folder), cost, str(self.folder), commands)
        with locked(self.folder):
            write_page(path, page)
        return path

    def summary(self) -> dict[str, object]:
        """Return all that is known so far as plain types: what ``--json`` prints."""
        found = estimates(self.folder)
        return {
            "design": str(self.folder),
            **self.record,
            "files": list(self.files),
            "simulation": verdicts(self.folder),
            "estimate": found[-1] if found else None,
        }


def open_files(folder: Path) -> CompiledFiles:
    """Return what a target of another package built into *folder*; raise :class:`InvalidDesignError` where it is not whole."""
    return CompiledFiles(read_built(folder))


def build_files(
    source: Source[OpenedClassifier], asked: Asked[AddedTarget], lowered: Lowered, clock: Clock
) -> BuiltFiles:
    """Return what the target builds of the lowered Graph; what goes wrong in it names its package."""
    target, graph, entry = asked.target, lowered.graph, entry_of(asked.target.name)
    with clock.step("build"):
        try:
            files = target.build(graph, source.kept.rows)
        except ApproxhwError:
            raise
        except Exception as error:
            if entry is None:  # a class that was merely written somewhere: its author sees where it failed
                raise
            raise failed(entry, f"building {shown(graph.name)}", error) from error
    if why := _no_files(files):
        if entry is None:
            raise OptionError("compile", [Problem(f"target {shown(target.name)}", why)])
        raise broken(entry, why)
    content = {name: value.encode() if isinstance(value, str) else value for name, value in files.items()}
    try:
        json_text(options := as_json(target))
    except TypeError as error:
        why = f"its options are no plain types ({shown(error, 80)})"
        raise OptionError(
            "compile", [Problem(f"target {shown(target.name)}", why, "numbers and texts can be")]
        ) from error
    record = BuiltRecord(
        target=target.name,
        spelled=spell_call(target.name, target),
        options=options,
        package=package_of(entry) if entry is not None else "",
        model=source.about,
        command=asked.command,
        version=__version__,
        ledger=tuple(PassRecord(**row) for row in lowered.ledger),
    )
    return BuiltFiles(lowered.folder, content, record)


def _no_files(files: object) -> str:
    """Return why *files*, what a target built, are none; empty where they are."""
    if not isinstance(files, Mapping):
        return f"it built {told(files)}, no mapping of files by name"
    wrong = [name for name, value in files.items() if not isinstance(name, str) or not isinstance(value, str | bytes)]
    return f"{shown(wrong[0])} is no text or bytes" if wrong else "" if files else "it built no file"


def _write(built: BuiltFiles, folder: Path, steps: Steps) -> CompiledFiles:
    write_built(built, steps)
    return CompiledFiles(built)


def _kept(folder: Path) -> tuple[Model, Ledger]:
    record = read_built(folder).record
    return record.model, [as_json(row) for row in record.ledger]


def _sane(target: AddedTarget) -> None:
    """Refuse a name that the folder could not say again."""
    name = target.name
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in BUILT_IN:
        why = f"{shown(repr(name), 40)} is no name for a target: letters, digits, _ and -, and none of ours"
        raise OptionError("compile", [Problem("target", why, "give the class another name")])


FLOW = Flow(
    check=check_classifier,
    counts=counts,
    read=read_classifier,
    free=check_built_output,
    prepare=prepare,
    context=circuit_context,
    build=build_files,
    write=_write,
    open=open_files,
    kept=_kept,
    sane=_sane,
)
"""Their models are read as circuits are."""
