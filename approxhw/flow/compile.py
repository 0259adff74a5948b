"""compile(): read → passes → build → folder, for every target; and folders of designs, opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from approxhw.artifacts.design import Model
from approxhw.artifacts.steps import read_graph, step_files, step_name
from approxhw.common.arguments import checked
from approxhw.common.data.dataset import DataSpec
from approxhw.common.errors import OptionError, Problem
from approxhw.common.files import locked
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, Pass, PassesSpec, PassRecord, passes_of, run_passes, spell_pass

from .printed.target import Printed
from .stages.describe import ledger_row
from .stages.protocol import Asked, Clock, Compiled, Lowered, Progress, Result, SomeFlow, Target
from .stages.safety import SafetyOptions
from .stages.targets import flow_in, flow_of, target_of


@checked("read")
def read(source: object, *, name: str | None = None) -> Graph:
    """Return the Graph of *source*: an ONNX file, ``onnx.ModelProto`` or fitted scikit-learn classifier.

    Raises :class:`~approxhw.common.errors.InvalidModelError` and :class:`~approxhw.common.errors.UnsupportedModelError`.
    """
    from approxhw.frontends import read_model

    return read_model(source, name=name)


@checked("check")
def check(
    source: object, target: Target | str | None = None, *, shape: Mapping[str, Sequence[int]] | None = None
) -> list[Problem]:
    """Return everything that keeps the model in *source* from being compiled for *target*; empty where nothing does.

    ``target``: a target, or the name of one; :class:`Printed` by default. ``shape``: sizes of inputs that the model leaves
    open. Raises :class:`~approxhw.common.errors.InvalidModelError` where the file itself is broken.
    """
    asked = _asked(source, target, shape)
    return flow_of(asked.target).check(asked)


def counted(
    source: object, target: Target | str | None = None, *, shape: Mapping[str, Sequence[int]] | None = None
) -> dict[str, int]:
    """Return what of the model in *source* is compiled for *target*, in numbers, such as ``inputs`` and ``classes``.

    Arguments as :func:`check` takes them, which has found nothing.
    """
    asked = _asked(source, target, shape)
    return dict(flow_of(asked.target).counts(asked))


def _asked(source: object, target: Target | str | None, shape: Mapping[str, Sequence[int]] | None) -> Asked[Target]:
    return Asked(source, Printed() if target is None else target_of(target, "check"), shape=shape)


@checked("open_folder")
def open_folder(folder: str | Path) -> Compiled:
    """Return what was compiled into *folder*, whatever the target: to be simulated, measured and reported there.

    Raises :class:`~approxhw.common.errors.InvalidDesignError` where no whole design is there.
    """
    return flow_in(Path(folder)).open(Path(folder))


class CompileKeywords(TypedDict, total=False):
    """What :func:`compile` takes besides model and target, for functions that hand it on."""

    data: DataSpec | None
    output: str | Path | None
    shape: Mapping[str, Sequence[int]] | None
    passes: PassesSpec | None
    steps: bool
    from_step: int | None
    threads: int
    command: str
    safety: SafetyOptions | None
    on_progress: Progress | None


@checked("compile")
def compile(
    model: object,
    *,
    target: Target | str | None = None,
    data: DataSpec | None = None,
    output: str | Path | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    passes: PassesSpec | None = None,
    steps: bool = False,
    from_step: int | None = None,
    threads: int = 1,
    command: str = "",
    safety: SafetyOptions | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Compile *model* into Verilog of *target*, checked against its Graph, and write the design folder.

    ``model``: a Graph, or what :func:`read` takes. ``target``: a target or the name of one. :class:`Printed`, the default,
    returns a :class:`~approxhw.flow.printed.compiled.CompiledDesign`; :class:`approxhw.MatrixEngine` a
    :class:`~approxhw.engine.matrix.compile.CompiledEngine`; one of another package (:class:`approxhw.flow.added.AddedTarget`) a
    :class:`~approxhw.flow.added.CompiledFiles`. ``data``: what :func:`approxhw.load_dataset` takes; the ranges
    of a circuit's inputs come from its training rows (or from ``target.low`` and ``high``). For an engine: labelled rows, or
    an ``.npz`` with an array for every input by name, and ``labels`` where there are any. ``output``: the folder, below
    ``build/`` by default; only a design is ever replaced. ``shape``: sizes of inputs that an engine's model leaves open,
    those of the data by default. ``passes``: instead of the target's: pass objects, or texts as :func:`approxhw.parse_passes`
    reads them, names of pipelines among them. ``steps``: keep the Graph after every pass, as it is kept anyway where one changes
    shapes; ``from_step``: start behind that step of the design that is in ``output`` already. ``threads``: of an engine's
    emulation.
    ``safety``: what the safety report marks, and whether it looks at each layer alone.
    Raises errors of :mod:`approxhw.common.errors`; nothing half-written is left.
    """
    target = Printed() if target is None else target_of(target)
    flow = flow_of(target)
    asked = Asked(
        model,
        target,
        data,
        shape,
        None if passes is None else passes_of(passes),
        threads,
        command,
        safety or SafetyOptions(),
    )
    clock = Clock(on_progress)
    flow.sane(target)
    with clock.step("read"):
        source = flow.read(asked)
    folder = Path(output) if output is not None else Path("build") / source.name
    with locked(folder):
        flow.free(folder)
        source = flow.prepare(source, asked, clock)
        asked = flow.settle(source, asked)
        todo = asked.passes
        graphs, earlier = [(step_name(0, "input"), source.graph)], tuple[LedgerLine, ...]()
        if from_step is not None:
            earlier = _restarted(from_step, todo, flow, folder, source.about)
            graphs = [(path.name, read_graph(path)) for path in step_files(folder / "steps", from_step)]
        with clock.step("passes"):

            def keep(index: int, name: str, result: Graph, record: PassRecord) -> None:
                graphs.append((step_name(index, name), result))

            def heard(step: str, done: int, total: int) -> None:
                clock.part(step)(done, total)

            context = replace(flow.context(source, asked), on_progress=heard)
            graph, records = run_passes(graphs[-1][1], todo, context, on_step=keep, start=from_step or 0)
        ledger = (*earlier, *(ledger_row(record) for record in records))
        spelled = tuple(spell_pass(item) for item in todo)
        lowered = Lowered(graph, spelled, ledger, folder, tuple(made for _, made in graphs))
        design = flow.build(source, asked, lowered, clock)
        # a smaller model is what a user of such passes wants to have, too
        steps = steps or from_step is not None or any(getattr(each, "reshapes", False) for each in todo)
        with clock.step("write"):
            return flow.write(design, folder, graphs if steps else ())


def _restarted(
    from_step: int, todo: Sequence[Pass], flow: SomeFlow, folder: Path, model: Model
) -> tuple[LedgerLine, ...]:
    """Return the ledger of *folder* up to *from_step*; raise :class:`OptionError` where *todo* or *model* is another one."""
    if not 0 <= from_step <= len(todo):
        why = f"there is no step {from_step}; this pipeline has steps 0 to {len(todo)}"
        raise OptionError("compile", [Problem("--from-step", why)])
    of, ledger = flow.kept(folder)
    digests = of.get("sha256"), model["sha256"]
    if digests[0] != digests[1] or (digests == (None, None) and of.get("title") != model["title"]):
        why = f"the steps of {folder} are of {of.get('title', 'another model')}, another file than {model['title']}"
        raise OptionError("compile", [Problem("--from-step", why, "compile the whole model, without it")])
    earlier = tuple(ledger[:from_step])
    if len(earlier) < from_step:
        why = f"the ledger of {folder} ends with step {len(earlier)}"
        raise OptionError("compile", [Problem("--from-step", why, "compile once more with --steps")])
    for done, item in zip(earlier, todo, strict=False):
        if done["spelled"] != spell_pass(item):
            why = f"step {done['index']} of {folder} was {done['spelled']}, now it is {spell_pass(item)}"
            raise OptionError(
                "compile", [Problem("--from-step", why, f"start from step {done['index'] - 1} or before")]
            )
    return earlier
