"""The pass that writes filters of convolutions as thin ones between two convolutions of 1 × 1: Tucker decompositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Conv
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import Reshaping
from approxhw.ir.tensor.layers import product_sizes
from approxhw.numerics.formats import dtype_of
from approxhw.passes.integers._editing import Editor

from .ground.budget import Form, unbeaten_forms, within_budget
from .ground.by_layer import fitted_by_layer, read_by_layer, read_count
from .ground.channels import weights_of
from .ground.layers import ALL, chosen_titles, clocks_of, given_alone, ground_of, matrix_of, share_problem, share_up
from .ground.moments import Moments, input_moments
from .ground.refit import Meant, refitted

_NAME = "tucker"

USUAL = 0.7
"""Share of clocks that stays where nothing is said."""


@dataclass(frozen=True)
class Tucker:
    """Write filters as a core of fewer channels between two convolutions of 1 × 1, their numbers told by the engine's clocks.

    Channels go in as the principal directions that the filters make most of over calibration rows, and come out as those of what
    the layer gives. Of all core shapes of all layers those are taken that keep within the *budget* at least error, which is told
    by the whole core's squares: every pair of ranks is looked at. A shape may leave either convolution out. Source: core shapes
    as in arXiv 2302.03886, counted in clocks; their sum of tails is here what both sides lose together.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    budget: float | None = field(
        default=None, metadata={"help": "share of the engine's clocks that stays; 70% without cores"}
    )
    cores: str = field(
        default="", metadata={"help": "channels in and out of each core, such as conv1=8x12;conv2=16x16"}
    )
    layers: str = field(default=ALL, metadata={"help": "names or patterns of products apart by ':', or all"})
    refit: bool = field(
        default=True, metadata={"help": "the last convolutions once more, layer after layer, by least squares"}
    )

    def __post_init__(self) -> None:
        """Refuse what leaves nothing."""
        found = share_problem(_NAME, "budget", self.budget)
        given, several = given_alone(self, ("budget", "cores"), _NAME, "budget=70%")
        found += several
        if not given:
            object.__setattr__(self, "budget", USUAL)
        try:
            self.by_layer()
        except OptionError as error:
            found += error.problems
        if found:
            raise OptionError(_NAME, found)

    def by_layer(self) -> dict[str, tuple[int, int]]:
        """Return the ``cores``, channels in and out, by names, patterns or numbers of convolutions."""
        return read_by_layer(self.cores, _read_core, f"{_NAME}.cores", "cores=conv1=8x12;conv2=16x16")

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with cores in place of the filters that they make cheaper."""
        ground = ground_of(context, _NAME)
        nodes = self._chosen(graph)
        whole = ground.reshaping.typed(graph)
        moments = input_moments(whole, [node.name for node in nodes], ground.observe)
        spectra = [spectrum_of(whole, node, moments[node.name]) for node in nodes]
        before = clocks_of(ground.reshaping, whole)
        if self.cores:
            own = fitted_by_layer(self.by_layer(), convolution_titles(whole), _NAME)
            self._refuse_large(nodes, [own[_title(node)] for node in nodes], spectra)
            cores: list[tuple[int, int] | None] = [own[_title(node)] for node in nodes]
        else:
            cores = self._in_budget(whole, nodes, spectra, ground.reshaping, before)
        made, changed = whole, []
        for node, ranks, spectrum in zip(nodes, cores, spectra, strict=True):
            if ranks is not None:
                made = _with_core(made, made[node.name], spectrum, ranks)
                changed.append((node, ranks, spectrum))
        if not changed:
            context.note("no filters have a core that is cheaper")
            return graph
        after = clocks_of(ground.reshaping, made)
        told = ", ".join(f"{shown(_title(node), 40)} {' × '.join(map(str, ranks))}" for node, ranks, _ in changed[:8])
        context.note(
            f"cores: {told}{', …' if len(changed) > 8 else ''}: {after:,} of {before:,} clocks ({after / before:.1%})"
        )
        if self.refit:
            meant = [Meant(node.name, node.name, np.arange(len(spectrum.kernel))) for node, _, spectrum in changed]
            tell = None if context.on_progress is None else partial(context.on_progress, "refit layers")
            made = refitted(made, whole, meant, ground.observe, tell)
        return made

    def _in_budget(
        self, graph: Graph, nodes: Sequence[Node], spectra: Sequence[Spectrum], reshaping: Reshaping, before: int
    ) -> list[tuple[int, int] | None]:
        """Return the core shape of each of *nodes*, None where its filters stay; raise :class:`PassError` for too little."""
        assert self.budget is not None
        shapes = [core_forms(graph, node, each, reshaping) for node, each in zip(nodes, spectra, strict=True)]
        others = before - sum(reshaping.clocks(*_sizes(graph, node)) for node in nodes)
        forms, total = within_budget(shapes, self.budget * before - others)
        if total + others > self.budget * before:
            why = f"the smallest cores still take {total + others:,} of {before:,} clocks"
            raise PassError(
                f"pass {_NAME}",
                [Problem(f"{_NAME}.budget", why, f"give budget={share_up(total + others, before)} or more")],
            )
        return [core_of(form, spectrum) if form.size else None for form, spectrum in zip(forms, spectra, strict=True)]

    def _refuse_large(
        self, nodes: Sequence[Node], cores: Sequence[tuple[int, int]], spectra: Sequence[Spectrum]
    ) -> None:
        """Raise :class:`PassError` naming every convolution whose core is asked to have more channels than it has."""
        problems = []
        for node, (r_in, r_out), spectrum in zip(nodes, cores, spectra, strict=True):
            count, channels = spectrum.kernel.shape[:2]
            if r_in > channels or r_out > count:
                where, why = (
                    f"layer {shown(_title(node), 60)!r}",
                    f"a core of {r_in}x{r_out} is above its {channels}x{count}",
                )
                problems.append(Problem(where, why, f"give at most {channels}x{count}"))
        if problems:
            raise PassError(f"pass {_NAME}", problems)

    def _chosen(self, graph: Graph) -> list[Node]:
        """Return the convolutions that are asked for; raise :class:`PassError` for those that have no core."""
        convolutions = {node.op.title: node for node in graph.nodes if isinstance(node.op, Conv)}
        if not convolutions:
            why = "it has no convolution"
            raise PassError(f"pass {_NAME}", [Problem("model", why, "use low-rank, which factors every product")])
        own = fitted_by_layer(self.by_layer(), list(convolutions), _NAME)
        chosen = [convolutions[title] for title in own or chosen_titles(list(convolutions), self.layers, _NAME)]
        fit = [node for node in chosen if weights_of(graph, node) is not None]
        if ((self.layers != ALL or own) and len(fit) < len(chosen)) or not fit:
            found = [
                Problem(f"layer {shown(node.op.title, 60)!r}", "its filters are computed, or in groups", "leave it out")  # type: ignore[union-attr]
                for node in chosen
                if node not in fit
            ]
            raise PassError(f"pass {_NAME}", found)
        return fit


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Of filters O × I × places: how channels go in and come out, principal directions first.

    ``kernel``: the filters, float64. ``into`` (I × I) makes principal channels of those that come, ``back`` (I × I) undoes it;
    ``out``: directions of what it gives (O × O). ``lost`` (I + 1 × O + 1): the share of what the layer gives that R_in channels
    in and R_out out leave out; of channels in, as if places of a filter were apart.
    """

    kernel: np.ndarray
    into: np.ndarray
    back: np.ndarray
    out: np.ndarray
    lost: np.ndarray


def spectrum_of(graph: Graph, node: Node, moments: Moments) -> Spectrum:
    """Return the principal channels of the filters of *node*, on what the *moments* say of what it reads."""
    kernel = matrix_of(graph, node).T.reshape(graph[node.inputs[1]].type.shape)
    count, channels = kernel.shape[:2]
    places = kernel.reshape(count, channels, -1)
    blocks = moments.covariance.reshape(channels, places.shape[2], channels, places.shape[2])
    within = np.mean([blocks[:, place, :, place] for place in range(places.shape[2])], axis=0)
    values, axes = np.linalg.eigh(within)
    roots = np.sqrt(np.maximum(values, 1e-6 * max(float(values.max()), 1e-12)))
    root, inverse = (axes * roots) @ axes.T, (axes / roots) @ axes.T
    made = np.einsum("oip,ojp->ij", places, places)
    order = np.linalg.eigh(root @ made @ root)[1][:, ::-1]
    matrix = matrix_of(graph, node)
    out_values, out = np.linalg.eigh(matrix.T @ moments.covariance @ matrix)
    out, back = out[:, ::-1], root @ order
    core = np.einsum("oip,or,is->rsp", places, out, back)
    return Spectrum(kernel, order.T @ inverse, back, out, lost_by_ranks(out_values[::-1], (core**2).sum(axis=2)))


def lost_by_ranks(out_values: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return what each number of channels in and out leaves out: tails of what comes out, and in the rest what does not go in.

    ``squares`` (O × I): of the whole core's numbers, summed over places.
    """
    tiny = np.finfo(float).tiny
    shares = np.maximum(out_values, 0.0) / max(float(np.maximum(out_values, 0.0).sum()), tiny)
    tails = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
    missing = np.zeros((squares.shape[1] + 1, squares.shape[0] + 1))
    missing[:-1, 1:] = np.cumsum(np.cumsum(squares.T[::-1], axis=0)[::-1], axis=1) / max(float(squares.sum()), tiny)
    return missing + tails


def core_forms(graph: Graph, node: Node, spectrum: Spectrum, reshaping: Reshaping) -> list[Form]:
    """Return the filters of *node* as they are, and every core shape that no other one beats by clocks and error.

    A shape's ``size`` is R_in · (O + 1) + R_out, so that it tells both (:func:`core_of`).
    """
    sizes = product_sizes(graph, node)
    count, channels = spectrum.kernel.shape[:2]
    image = math.prod(graph[node.inputs[0]].type.shape) // channels
    kernel = math.prod(spectrum.kernel.shape[2:])
    whole = sizes.count * reshaping.clocks(sizes.m, sizes.k, sizes.n)
    forms = [Form(0, whole, 0.0)]
    for r_in in range(1, channels + 1):
        first = 0 if r_in == channels else reshaping.clocks(image, channels, r_in)
        for r_out in range(1, count + 1):
            last = 0 if r_out == count else reshaping.clocks(sizes.m, r_out, count)
            core = reshaping.clocks(sizes.m, r_in * kernel, r_out)
            if (costs := first + core + last) < whole:
                forms.append(Form(r_in * (count + 1) + r_out, costs, float(spectrum.lost[r_in, r_out])))
    return unbeaten_forms(forms)


def convolution_titles(graph: Graph) -> list[str]:
    """Return the titles of all convolutions of *graph*, in its order: what the option ``cores`` names."""
    return [_title(node) for node in graph.nodes if isinstance(node.op, Conv)]


def _title(node: Node) -> str:
    assert isinstance(node.op, Conv)
    return node.op.title


def _read_core(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2:
        raise ValueError("is no core such as 8x12")
    return read_count(parts[0]), read_count(parts[1])


def _sizes(graph: Graph, node: Node) -> tuple[int, int, int]:
    """Return M, K and N of the one product that *node* is."""
    sizes = product_sizes(graph, node)
    return sizes.m, sizes.k, sizes.n


def core_of(form: Form, spectrum: Spectrum) -> tuple[int, int]:
    """Return the channels in and out of the core that the *form* (of :func:`core_forms`) is."""
    return divmod(form.size, len(spectrum.kernel) + 1)


def _with_core(graph: Graph, node: Node, spectrum: Spectrum, ranks: Sequence[int]) -> Graph:
    """Return *graph* with up to three convolutions in place of *node*, whose name the last one has."""
    op = node.op
    assert isinstance(op, Conv)
    r_in, r_out = ranks
    count, channels = spectrum.kernel.shape[:2]
    places = spectrum.kernel.shape[2:]
    core = spectrum.kernel.reshape(count, channels, -1)
    if r_in < channels:
        core = np.einsum("oip,ir->orp", core, spectrum.back[:, :r_in])
    if r_out < count:
        core = np.einsum("oip,or->rip", core, spectrum.out[:, :r_out])
    ones = (1,) * len(places)
    plain = Conv("", arithmetic=op.arithmetic, result=op.result, codes=op.codes)
    editor = Editor(graph)
    for each in graph.nodes:
        if each.name != node.name:
            editor.nodes.append(each)
            continue
        old, read, fmt = graph[node.inputs[1]], node.inputs[0], node.type.format
        if r_in < channels:
            shape = list(graph[read].type.shape)
            shape[1] = r_in
            filters = _filters(editor, old, "in", spectrum.into[:r_in].reshape(r_in, channels, *ones))
            read = editor.add(f"{node.name}_in", replace(plain, title=f"{op.title}/in"), [read, filters], shape, fmt)
        filters = _filters(editor, old, "core", core.reshape(min(r_out, count), min(r_in, channels), *places))
        if r_out == count:
            editor.nodes.append(
                replace(node, op=replace(op, title=f"{op.title}/core"), inputs=(read, filters, *node.inputs[2:]))
            )
            continue
        shape = list(node.type.shape)
        shape[1] = r_out
        read = editor.add(f"{node.name}_core", replace(op, title=f"{op.title}/core"), [read, filters], shape, fmt)
        filters = _filters(editor, old, "out", spectrum.out[:, :r_out].reshape(count, r_out, *ones))
        last = replace(plain, title=f"{op.title}/out")
        editor.nodes.append(replace(node, op=last, inputs=(read, filters, *node.inputs[2:])))
    return editor.done()


def _filters(editor: Editor, like: Node, name: str, data: np.ndarray) -> str:
    return editor.constant(f"{like.name}_{name}", np.ascontiguousarray(data.astype(dtype_of(like.type.format))))
