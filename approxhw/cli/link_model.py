"""``approxhw link-model``: its options, all their problems at once, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from approxhw.common.errors import OptionError, Problem, ProblemsError, shown

from .terminal import Terminal

Made = TypeVar("Made")

OPTIONS = (
    click.option("--published", is_flag=True, help="The published speed-ups, recomputed; no other option is needed."),
    click.option("--gpus", type=int, help="GPUs of the cluster."),
    click.option("--per-node", type=int, help="GPUs that share a node.  [default: all]"),
    click.option("--inside", type=float, default=7.0, show_default=True, help="GB/s between GPUs of a node."),
    click.option("--link", type=float, default=6.0, show_default=True, help="GB/s between nodes, of each node."),
    click.option("--latency-us", type=float, default=0.0, show_default=True, help="Microseconds before a message."),
    click.option("--model", type=click.Path(path_type=Path), help="ONNX model that is trained."),
    click.option("--parameters", type=int, help="Numbers that have a gradient, instead of a model."),
    click.option("--widths", help="Values an example of the layers that --parallel model splits, such as 4096,1000."),
    click.option("--batch", type=int, default=1, show_default=True, help="Examples of a step on one GPU."),
    click.option("--step-ms", type=float, help="Milliseconds of that step, forward and backward."),
    click.option("--overlap-ms", type=float, default=0.0, show_default=True, help="Of the exchange, that hide."),
    click.option(
        "--format", "number_format", default="dynamic8,block=256", show_default=True, help="8-bit code of the exchange."
    ),
    click.option("--encode-ns", type=float, default=1.0, show_default=True, help="Of a GPU, to compress a number."),
    click.option("--decode-ns", type=float, default=0.5, show_default=True, help="Of a GPU, to decompress one."),
    click.option("--parallel", default="data", show_default=True, help="data: gradients; model: activations, errors."),
    click.option("--plot", type=click.Path(path_type=Path), help="SVG file: speed-up over number of GPUs."),
)


def link_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of ``link-model``."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def run_link_model(terminal: Terminal, given: Mapping[str, Any]) -> dict[str, Any]:
    """Answer as the command line asks, and return what ``--json`` prints."""
    if given["published"]:
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

    latency = given["latency_us"]
    inside = tried(lambda: Link(given["inside"], latency), bandwidth="--inside", latency="--latency-us")
    between = tried(lambda: Link(given["link"], max(0.0, latency)), bandwidth="--link")
    if given["gpus"] is None:
        problems.append(Problem("--gpus", "is missing", "say how many GPUs there are"))
    some = Link(1.0)
    size = given["gpus"] if given["gpus"] is not None else given["per_node"] or 1
    cluster = tried(
        lambda: Cluster(
            size, size if given["per_node"] is None else given["per_node"], inside or some, between or some
        ),
        gpus="--gpus",
        gpus_a_node="--per-node",
    )
    wanted = tried(lambda: parse(given["number_format"]), format="--format", block="--format", max="--format")
    times = {"compression": "--encode-ns", "decompression": "--decode-ns"}
    code = tried(lambda: code_of(wanted or dynamic8(), given["encode_ns"], given["decode_ns"]), **times)
    network = tried(
        lambda: _network(given), step="--step-ms", batch="--batch", parameters="--parameters", widths="--widths"
    )
    predict = {"data": data_parallel, "model": model_parallel}.get(given["parallel"])
    if predict is None:
        problems.append(Problem("--parallel", f"{shown(repr(given['parallel']))} is none", "choose data or model"))
    if not given["overlap_ms"] >= 0:
        problems.append(Problem("--overlap-ms", f"{given['overlap_ms']:g} ms is no time", "give 0 or more"))
    if problems or cluster is None or network is None or code is None or predict is None:
        raise OptionError("link model", problems)
    curves = curve(predict, network, cluster, (FLOAT32, code), given["overlap_ms"])
    _show(terminal, curves, network)
    if given["plot"] is not None:
        title = f"{network.name}, {given['parallel']} parallel: {network.step_ms:g} ms a step on one GPU"
        write_plot(given["plot"], curves, title)
        terminal.say(f"plot: {given['plot']}")
    return {
        "network": asdict(network),
        "cluster": asdict(cluster),
        "parallel": given["parallel"],
        "overlap_ms": given["overlap_ms"],
        "predictions": {
            name: [{**asdict(point), "code": name, "step_ms": point.step_ms} for point in points]
            for name, points in curves.items()
        },
        "plot": None if given["plot"] is None else str(given["plot"]),
    }


def _key(where: str) -> str:
    return where.lower().replace(" ", "_")


def _network(given: Mapping[str, Any]) -> Any:
    """Return the network of the options; every problem of theirs at once."""
    from approxhw.distributed.link_model import Network, network_of

    found: list[Problem] = []
    if given["step_ms"] is None:
        found.append(Problem("--step-ms", "is missing", "measure a step of training on one GPU"))
    step = 1.0 if given["step_ms"] is None else given["step_ms"]
    if (given["model"] is None) == (given["parameters"] is None and given["widths"] is None):
        remedy = "give --model FILE, or --parameters and --widths"
        why = "no network is given" if given["model"] is None else "the network is given twice"
        found.append(Problem("--model", why, remedy))
    widths: tuple[int, ...] = ()
    if given["widths"] is not None:
        try:
            widths = tuple(int(part) for part in given["widths"].split(","))
        except ValueError:
            why = f"{shown(repr(given['widths']))} are no whole numbers with commas between"
            found.append(Problem("--widths", why, "such as 4096,1000"))
    network = None
    try:
        network = Network("network", step, given["parameters"] or 0, given["batch"], widths)
        if given["model"] is not None and not found:
            network = network_of(given["model"], step, given["batch"])
    except OptionError as error:
        found += error.problems
    lacks = {"data": "parameters", "model": "widths"}.get(given["parallel"])
    if not found and lacks and network is not None and not getattr(network, lacks):
        why = f"{given['parallel']} parallelism exchanges nothing of this network: it has no {lacks}"
        found.append(
            Problem(f"--{lacks}", why, f"give --{lacks}, or --parallel {'model' if lacks == 'parameters' else 'data'}")
        )
    if found:
        raise OptionError("link model", found)
    return network


def _show(terminal: Terminal, curves: Mapping[str, Any], network: Any) -> None:
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


def _published(terminal: Terminal) -> dict[str, Any]:
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
