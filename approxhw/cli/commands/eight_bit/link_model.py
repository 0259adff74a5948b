"""``approxhw link-model``: its options, all their problems at once, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.shared import CODES
from approxhw.common.errors import OptionError, Problem, ProblemsError, shown
from approxhw.common.option_fields import option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.distributed.link_model import Network, Prediction

Made = TypeVar("Made")


@dataclass(frozen=True)
class LinkOptions:
    """What ``link-model`` takes."""

    published: bool = option("the published speed-ups, recomputed; no other option is needed", False)
    gpus: int | None = option("GPUs of the cluster", None)
    per_node: int | None = option("GPUs that share a node", None, shown_default="all")
    inside: float = option("GB/s between GPUs of a node", 7.0)
    link: float = option("GB/s between nodes, of each node", 6.0)
    latency_us: float = option("microseconds before a message", 0.0)
    model: Path | None = option("ONNX model that is trained", None)
    parameters: int | None = option("numbers that have a gradient, instead of a model", None)
    widths: str | None = option(
        "values an example of the layers that --parallel model splits, such as 4096,1000", None, metavar="WIDTHS"
    )
    batch: int = option("examples of a step on one GPU", 1)
    step_ms: float | None = option("milliseconds of that step, forward and backward", None)
    overlap_ms: float = option("milliseconds of the exchange that hide", 0.0)
    format: str = option("8-bit code of the exchange", "dynamic8,block=256", choices=CODES, metavar="FORMAT")
    encode_ns: float = option("nanoseconds of a GPU to compress a number", 1.0)
    decode_ns: float = option("nanoseconds of a GPU to decompress one", 0.5)
    parallel: str = option("data: gradients; model: activations, errors", "data", choices=("data", "model"))
    plot: Path | None = option("SVG file: speed-up over number of GPUs", None)


def run(terminal: Terminal, options: LinkOptions) -> dict[str, object]:
    """Predict how much faster several GPUs train a model, with float32 and with 8-bit exchange."""
    if options.published:
        _refuse_others(options)
        return _published(terminal)
    from approxhw.distributed.link_model import (
        FLOAT32,
        Cluster,
        Link,
        code_of,
        curve,
        data_parallel,
        model_parallel,
        write_plot,
    )
    from approxhw.numerics.eight_bit.codes import dynamic8, parse

    problems: list[Problem] = []

    def tried(make: Callable[[], Made], **names: str) -> Made | None:
        try:
            return make()
        except ProblemsError as error:
            found = error.problems if isinstance(error, OptionError) else [Problem("--model", str(error))]
            problems.extend(Problem(names.get(_key(p.where), p.where), p.why, p.remedy) for p in found)
            return None

    latency = options.latency_us
    inside = tried(lambda: Link(options.inside, latency), bandwidth="--inside", latency="--latency-us")
    between = tried(lambda: Link(options.link, max(0.0, latency)), bandwidth="--link")
    if options.gpus is None:
        problems.append(Problem("--gpus", "is missing", "say how many GPUs there are"))
    some = Link(1.0)
    size = options.gpus if options.gpus is not None else options.per_node or 1
    cluster = tried(
        lambda: Cluster(size, size if options.per_node is None else options.per_node, inside or some, between or some),
        gpus="--gpus",
        gpus_a_node="--per-node",
    )
    wanted = tried(lambda: parse(options.format), format="--format", block="--format", max="--format")
    times = {"compression": "--encode-ns", "decompression": "--decode-ns"}
    code = tried(lambda: code_of(wanted or dynamic8(), options.encode_ns, options.decode_ns), **times)
    network = tried(
        lambda: _network(options), step="--step-ms", batch="--batch", parameters="--parameters", widths="--widths"
    )
    predict = {"data": data_parallel, "model": model_parallel}.get(options.parallel)
    if predict is None:
        problems.append(Problem("--parallel", f"{shown(repr(options.parallel))} is none", "choose data or model"))
    if not options.overlap_ms >= 0:
        problems.append(Problem("--overlap-ms", f"{options.overlap_ms:g} ms is no time", "give 0 or more"))
    if problems or cluster is None or network is None or code is None or predict is None:
        raise OptionError("link model", problems)
    curves = curve(predict, network, cluster, (FLOAT32, code), options.overlap_ms)
    _show(terminal, curves, network)
    if options.plot is not None:
        title = f"{network.name}, {options.parallel} parallel: {network.step_ms:g} ms a step on one GPU"
        write_plot(options.plot, curves, title)
        terminal.say(f"plot: {options.plot}")
    return {
        "network": asdict(network),
        "cluster": asdict(cluster),
        "parallel": options.parallel,
        "overlap_ms": options.overlap_ms,
        "predictions": {
            name: [{**asdict(point), "code": name, "step_ms": point.step_ms} for point in points]
            for name, points in curves.items()
        },
        "plot": None if options.plot is None else str(options.plot),
    }


def _key(where: str) -> str:
    return where.lower().replace(" ", "_")


def _network(options: LinkOptions) -> Network:
    """Return the network of the options; every problem of theirs at once."""
    from approxhw.distributed.link_model import Network, network_of

    found: list[Problem] = []
    if options.step_ms is None:
        found.append(Problem("--step-ms", "is missing", "measure a step of training on one GPU"))
    step = 1.0 if options.step_ms is None else options.step_ms
    if (options.model is None) == (options.parameters is None and options.widths is None):
        remedy = "give --model FILE, or --parameters and --widths"
        why = "no network is given" if options.model is None else "the network is given twice"
        found.append(Problem("--model", why, remedy))
    widths: tuple[int, ...] = ()
    if options.widths is not None:
        try:
            widths = tuple(int(part) for part in options.widths.split(","))
        except ValueError:
            why = f"{shown(repr(options.widths))} are no whole numbers with commas between"
            found.append(Problem("--widths", why, "such as 4096,1000"))
    network = None
    try:
        network = Network("network", step, options.parameters or 0, options.batch, widths)
        if options.model is not None and not found:
            network = network_of(options.model, step, options.batch)
    except OptionError as error:
        found += error.problems
    lacks = {"data": "parameters", "model": "widths"}.get(options.parallel)
    if not found and lacks and network is not None and not getattr(network, lacks):
        why = f"{options.parallel} parallelism exchanges nothing of this network: it has no {lacks}"
        found.append(
            Problem(f"--{lacks}", why, f"give --{lacks}, or --parallel {'model' if lacks == 'parameters' else 'data'}")
        )
    if found or network is None:
        raise OptionError("link model", found)
    return network


def _show(terminal: Terminal, curves: Mapping[str, Sequence[Prediction]], network: Network) -> None:
    from rich.table import Table

    from approxhw.report.figures import grouped, significant

    terminal.say(
        f"{network.name}: {grouped(network.parameters)} parameters, {len(network.widths)} dense layers, "
        f"{network.step_ms:g} ms a step of {network.batch} examples on one GPU"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("GPUs", "code", "sent MB", "exchange", "not hidden", "step ms", "speed-up"):
        table.add_column(title, justify="left" if title == "code" else "right", no_wrap=True)
    for points in zip(*curves.values(), strict=True):
        for place, point in enumerate(points):
            figures = (point.sent_bytes / 1e6, point.exchange_ms, point.exposed_ms, point.step_ms)
            row = [significant(value) for value in figures]
            table.add_row("" if place else str(point.gpus), point.code.name, *row, f"{point.speedup:.2f}")
    terminal.out.print(table)


def _refuse_others(options: LinkOptions) -> None:
    """Refuse what is given beside --published: it would be left unheard."""
    given = [each.name for each in fields(options) if getattr(options, each.name) != each.default]
    spelled = [f"--{name.replace('_', '-')}" for name in given if name != "published"]
    if spelled:
        why = "--published recomputes what was published, and takes no other option"
        raise OptionError("link-model", [Problem(name, why, "leave it out, or --published") for name in spelled])


def _published(terminal: Terminal) -> dict[str, object]:
    from rich.table import Table

    from approxhw.distributed.published_speedups import FOUR_GPUS, NINETY_SIX_GPUS, exchanges

    rows = (*FOUR_GPUS, *NINETY_SIX_GPUS)
    table = Table(box=None, pad_edge=False)
    for title in ("GPUs", "sub-batch", "code", "printed", "formula", "apart", ""):
        table.add_column(title, justify="left" if title in ("code", "") else "right")
    for row in rows:
        apart, near = f"{100 * row.deviation:+.2f} %", "within" if row.is_near else "outside"
        head = (str(row.terms.gpus), str(row.sub_batch), row.code)
        table.add_row(*head, row.printed, f"{row.terms.speedup:.3f}", apart, near)
    terminal.out.print(table)
    terminal.say("within: 0.3 %, or half a unit of the last printed digit\n")
    table = Table(box=None, pad_edge=False)
    for title in ("batch", "code", "printed", "slices", "apart", "free", "apart", "whole", "apart"):
        table.add_column(title, justify="left" if title == "code" else "right", no_wrap=True)
    found = exchanges()
    terminal.say("exchange of all sub-batches on 96 GPUs, ms, and what links alone give; nothing is fitted:")
    for entry in found:
        cells = []
        for value in (entry.slices, entry.free, entry.whole):
            cells += [f"{value:.1f}", f"{100 * (value / entry.published - 1):+.0f}%"]
        table.add_row(str(entry.sub_batch), entry.code, f"{entry.published:g}", *cells)
    terminal.out.print(table)
    terminal.say("what slices, free and whole count: docs/link-model.md")
    return {
        "published": [
            {
                "gpus": row.terms.gpus,
                "sub_batch": row.sub_batch,
                "code": row.code,
                "printed": row.printed,
                "speedup": row.terms.speedup,
                "deviation": row.deviation,
                "within": row.is_near,
            }
            for row in rows
        ],
        "exchanges": [asdict(entry) for entry in found],
    }


COMMAND = Command("link-model", run, LinkOptions)
