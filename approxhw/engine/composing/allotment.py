"""Which rank, core or number of channels each layer gets within a budget: by what is lost times what the end feels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from approxhw.common.errors import PassError, Problem
from approxhw.engine.composing.felt import felt_by_layer, felt_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, is_product
from approxhw.ir.pass_manager import Pass, PassContext, pass_named
from approxhw.passes.structure.ground.budget import Form, within_budget
from approxhw.passes.structure.ground.by_layer import spelled_by_layer
from approxhw.passes.structure.ground.channels import ChannelGroup, Channels, channels_of, weights_of
from approxhw.passes.structure.ground.layers import Ground, clocks_of, ground_of, matrix_of
from approxhw.passes.structure.ground.leaving import group_readers, useful_sizes
from approxhw.passes.structure.ground.moments import input_moments
from approxhw.passes.structure.ground.repair import order_of_leaving
from approxhw.passes.structure.low_rank import principal_of, product_titles, rank_forms
from approxhw.passes.structure.prune_outputs import group_titles, kept_in_budget
from approxhw.passes.structure.tucker import Spectrum, convolution_titles, core_forms, core_of, spectrum_of

MOST_REFIT = 24
"""Products with constant weights that are refitted one after another; of more, all at once."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class LayerForms:
    """A product and the factored forms that it can take: their losses are those of the model's end.

    ``spectrum``: of filters that become cores; None where the forms are ranks.
    """

    title: str
    forms: tuple[Form, ...]
    spectrum: Spectrum | None


@dataclass(frozen=True, eq=False)
class Allotment:
    """What budgets are allotted by: a typed Graph, its clocks, its layers' forms, and what is ``felt`` of each.

    ``felt``: by the Node of each product whose weights are constant, in units of the answers
    (:mod:`approxhw.engine.composing.felt`). ``refit``: whether passes bring layers near to what they gave, one
    after another: a run over the rows for each, which models of many layers go without.
    """

    graph: Graph
    ground: Ground
    clocks: int
    layers: tuple[LayerForms, ...]
    felt: Mapping[str, float]
    refit: bool
    prunes: bool
    """Whether any channels can leave."""

    def idle(self, asked: Sequence[str]) -> list[Problem]:
        """Return why each pass of those *asked* that has nothing to do here has none."""
        cores = any(each.spectrum is not None for each in self.layers)
        why = {
            "low-rank": ""
            if any(each.spectrum is None for each in self.layers)
            else "no weights have factors that take fewer clocks on this array",
            "tucker": "" if cores else "no convolution has a core that takes fewer clocks on this array",
            "prune-outputs": "" if self.prunes else "no channels can leave",
        }
        return [Problem(f"approximations, {name}", why[name], "leave it out") for name in asked if why[name]]

    @property
    def others(self) -> int:
        """The clocks of what has no forms."""
        return self.clocks - sum(each.forms[0].costs for each in self.layers)

    def factors(self, clocks: float) -> tuple[Pass, ...]:
        """Return passes that give layers factors and cores so that all products take at most *clocks*, at least loss.

        None where the model keeps within them as it is. Raises :class:`PassError` where the smallest factors do not.
        """
        chosen, total = within_budget([each.forms for each in self.layers], clocks - self.others)
        if total + self.others > clocks:
            raise too_little(clocks, total + self.others)
        ranks: dict[str, object] = {}
        cores: dict[str, object] = {}
        for layer, form in zip(self.layers, chosen, strict=True):
            if form.size and layer.spectrum is not None:
                cores[layer.title] = "x".join(map(str, core_of(form, layer.spectrum)))
            elif form.size:
                ranks[layer.title] = form.size
        made: list[Pass] = []  # convolutions are all one pass's, so that each pass counts them as they are here
        if ranks:
            made.append(
                pass_named("low-rank")(ranks=spelled_by_layer(ranks, product_titles(self.graph)), refit=self.refit)
            )
        if cores:
            made.append(
                pass_named("tucker")(cores=spelled_by_layer(cores, convolution_titles(self.graph)), refit=self.refit)
            )
        return tuple(made)


def too_little(clocks: float, least: int) -> PassError:
    """Return the error of a budget that nothing meets."""
    return PassError("composition", [Problem("clocks", f"{clocks:,.0f} are too few: {least:,} are the least")])


def allotment_of(graph: Graph, context: PassContext, asked: Sequence[str], tell: Tell) -> Allotment:
    """Return what budgets of *graph* are allotted by; *asked*: which passes may be taken.

    One run over the calibration rows for their moments, and one for each layer, for what is felt of it. Raises
    :class:`PassError` where no weights are constant.
    """
    ground = ground_of(context, "composition")
    whole = ground.reshaping.typed(graph)
    nodes = [node for node in whole.nodes if is_product(node.op) and weights_of(whole, node) is not None]
    moments = input_moments(whole, [node.name for node in nodes], ground.observe)

    def told(done: int, total: int) -> None:
        tell("what the end feels of layers", done, total)

    felt = felt_by_layer(whole, moments, ground.observe, told)
    layers = []
    for node in nodes:
        grouped = isinstance(node.op, Conv) and node.op.group > 1
        spectrum, forms = None, list[Form]()
        if isinstance(node.op, Conv) and "tucker" in asked and not grouped:
            spectrum = spectrum_of(whole, node, moments[node.name])
            forms = core_forms(whole, node, spectrum, ground.reshaping)
        elif "low-rank" in asked and not grouped and not isinstance(node.op, ConvTranspose):
            forms = rank_forms(whole, node, principal_of(matrix_of(whole, node), moments[node.name]), ground.reshaping)
        if len(forms) > 1:
            whole_first = sorted(forms, key=lambda form: form.size > 0)
            own = tuple(replace(form, loses=form.loses * felt[node.name]) for form in whole_first)
            layers.append(LayerForms(node.op.title, own, spectrum))  # type: ignore[union-attr]
    prunes = "prune-outputs" in asked and bool(_free_groups(channels_of(ground.reshaping.apart(graph))))
    return Allotment(
        whole, ground, clocks_of(ground.reshaping, whole), tuple(layers), felt, len(nodes) <= MOST_REFIT, prunes
    )


def pruning(graph: Graph, allotment: Allotment, clocks: float) -> tuple[Pass, ...]:
    """Return the pass that takes channels out of *graph*, which factors have made smaller, until products take at most *clocks*.

    None where it keeps within them. What a group costs is the mean of what the end feels of its readers. Raises
    :class:`PassError` where the fewest channels still take more, or none can leave.
    """
    ground = allotment.ground
    if clocks_of(ground.reshaping, ground.reshaping.typed(graph)) <= clocks:
        return ()
    channels = channels_of(ground.reshaping.apart(graph))
    groups = _free_groups(channels)
    if not groups:
        raise too_little(clocks, clocks_of(ground.reshaping, channels.graph))
    whole = channels.graph
    moments = input_moments(whole, sorted({name for group in groups for name in group.readers}), ground.observe)
    leaving = []
    for group in groups:
        own = order_of_leaving(group_readers(channels, group, moments), group.channels)
        felt = felt_of(allotment.felt, [name for name in group.readers if name in allotment.felt])
        leaving.append(replace(own, losses=own.losses * felt))
    sizes = [
        useful_sizes(channels, group, each.channels, ground.reshaping)
        for group, each in zip(groups, leaving, strict=True)
    ]
    kept = kept_in_budget(channels, groups, leaving, sizes, ground.reshaping, int(clocks))
    told: dict[str, object] = {
        group.title: count for group, count in zip(groups, kept, strict=True) if count < group.size
    }
    repair = "refit" if allotment.refit else "once"
    made = pass_named("prune-outputs")(sizes=spelled_by_layer(told, group_titles(channels)), repair=repair)
    return (made,) if told else ()


def _free_groups(channels: Channels) -> list[ChannelGroup]:
    return [group for group in channels.groups if not group.why and group.size > 1]


PARTS = ("first", "second", "in", "core", "out")
"""What passes call the parts of a layer that they factor: behind its own name."""


def origin_of(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """Return which of the *known* layers the layer *name* is a part of; itself where it is one of them."""
    while name not in known:
        rest, slash, part = name.rpartition("/")
        if not slash or part not in PARTS:
            break
        name = rest
    return name
