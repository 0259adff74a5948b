"""What a command takes for each kind of thing it works on, such as a target: options of its own, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import OptionField, OptionsT, build_options, option_fields

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from approxhw.cli.terminal.terminal import Terminal

Json = dict[str, object]
"""What a command prints with ``--json``, made of plain types."""


@dataclass(frozen=True)
class CommandKind:
    """A kind of thing that a command works on: the dataclass of its options, and the function that does the work.

    ``options`` may have a method ``problems(said)`` that returns what else is wrong; *said* is what was said by option, as
    objects that refuse a value cannot hold it.
    ``run``: called with the terminal, the general options, and those of this kind. ``is_for``: why an option of this kind
    is refused where another one is meant. ``refuses``, ``remedy``: why options of others are refused here, where that says more,
    and what to do.
    ``without``: mark of fields that are no options here. ``listed``: whether help has a group for it.
    """

    name: str
    title: str
    options: type[DataclassInstance]
    run: Callable[..., Json]
    is_for: str
    refuses: str = ""
    remedy: str = "leave it out"
    listed: bool = True

    def fields(self) -> tuple[OptionField, ...]:
        """Return its options."""
        return option_fields(self.options)


@dataclass(frozen=True)
class Shared:
    """An option, the kinds that have it (none: general), and how each of them describes it."""

    item: OptionField
    by: Mapping[str, OptionField] = field(default_factory=dict)

    @property
    def shown(self) -> OptionField:
        """As help shows it and Tab completes it: what it may be for any of the kinds, where they differ in that."""
        known = [each.about.get("choices") for each in self.by.values()]
        listed = [each for each in known if isinstance(each, tuple)]
        if len(set(known)) < 2 or len(listed) < len(known):
            return self.item
        every = dict.fromkeys(choice for each in listed for choice in each)
        return replace(self.item, about={**self.item.about, "choices": tuple(every)})

    def help(self) -> str:
        """Return what it is for; kinds that mean something else by it say so."""
        own = list(self.by.items())
        others = [f"{name}: {each.help}" for name, each in own[1:] if each.help != self.item.help]
        return "; ".join([self.item.help.rstrip("."), *others]) if others else self.item.help

    def defaults(self) -> dict[str, str]:
        """Return the default in words by kind; under an empty name the one that is not another kind's."""
        words = {name: each.spelled() for name, each in self.by.items()} or {"": self.item.spelled()}
        first = next(iter(words.values()))
        return {"": first, **{name: text for name, text in words.items() if text != first}}


def shared_options(general: type[DataclassInstance], kinds: Sequence[CommandKind]) -> list[Shared]:
    """Return every option once: the general ones, then those of kinds, with all the kinds that have it."""
    found = {item.name: Shared(item) for item in option_fields(general)}
    for kind in kinds:
        for item in kind.fields():
            earlier = found.get(item.name)
            if earlier is None:
                found[item.name] = Shared(item, {kind.name: item})
            elif earlier.by:
                found[item.name] = Shared(earlier.item, {**earlier.by, kind.name: item})
            else:
                raise TypeError(f"{kind.name} has an option {item.flag}, which is a general one")
    return list(found.values())


@dataclass(frozen=True, eq=False)
class Given:
    """What was said on a command line: ``values`` by option, without those that nobody said."""

    command: str
    general: type[DataclassInstance]
    kinds: Mapping[str, CommandKind]
    values: Mapping[str, object]

    def read(self, maker: type[OptionsT]) -> OptionsT:
        """Return the dataclass *maker* of what was said; raise :class:`OptionError` with everything wrong with that."""
        problems: list[Problem] = []
        made = build_options(maker, self.values, problems)
        if problems or made is None:
            raise OptionError(self.command, problems)
        return made

    def glance(self, maker: type[OptionsT]) -> OptionsT:
        """Return the dataclass *maker* of what was said, values that cannot be as by default: to tell what is meant."""
        problems: list[Problem] = []
        made = build_options(maker, self.values, problems)
        if made is None:  # what has no default cannot be
            raise OptionError(self.command, problems)
        return made

    def run(self, name: str, terminal: Terminal) -> Json:
        """Work on a thing of kind *name*; raise :class:`OptionError` with everything that does not suit it, at once."""
        return self.run_as(self.kinds[name], terminal)

    def run_as(self, kind: CommandKind, terminal: Terminal) -> Json:
        """Work on a thing of *kind*, which need not be one that help knows; errors as of :meth:`run`."""
        known = {item.name for item in option_fields(self.general)} | {item.name for item in kind.fields()}
        owners = {each.item.name: (each.item, each.by) for each in shared_options(self.general, [*self.kinds.values()])}
        problems = []
        for said in self.values:
            if said not in known:
                item, by = owners[said]
                why = kind.refuses or self.kinds[next(iter(by))].is_for
                problems.append(Problem(item.flag, why, kind.remedy))
        general = build_options(self.general, self.values, problems)
        own = build_options(kind.options, self.values, problems)
        if own is not None and hasattr(own, "problems"):
            problems += [problem for problem in own.problems(self.values) if problem not in problems]
        if problems or general is None or own is None:
            raise OptionError(self.command, problems)
        return kind.run(terminal, general, own)
