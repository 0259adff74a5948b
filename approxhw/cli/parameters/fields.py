"""A field of a dataclass as an option of click: type, help with its default, and what Tab completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from pathlib import Path

import click
import cloup
from click.shell_completion import CompletionItem

from approxhw.common.option_fields import OptionField, is_path

SHOWN_CHOICES = 36
"""Characters of choices that stand in help in place of a metavar at most."""


class Named(click.ParamType[str]):
    """A text of which Tab knows what it may be; the library says what is wrong with another one, in its own words."""

    name = "text"

    def __init__(self, choices: Callable[[], Iterable[str]]) -> None:
        self.choices = choices

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what begins like *incomplete*."""
        return [CompletionItem(text) for text in self.choices() if text.startswith(incomplete)]


def parameter(
    item: OptionField, help: str, defaults: Mapping[str, str], group: cloup.OptionGroup | None
) -> click.Parameter:
    """Return *item* for click; ``None`` or ``()`` is what click gives where nobody said it.

    *help*: what it is for. *defaults*: the default in words, by who has it: one for all under an empty name.
    """
    if item.about.get("positional"):
        name = item.metavar or item.name.upper()
        count = -1 if item.repeated else 1
        name = f"[{name}]…" if item.repeated else name
        must = item.default is MISSING
        return cloup.Argument([item.name], type=_type(item), metavar=name, required=must, nargs=count)
    names = [item.flag, item.name]
    if short := item.about.get("short"):
        names.insert(0, short)
    about: dict[str, object] = {"type": _type(item)}
    if bool in item.types:
        about = {"is_flag": True}
        if item.default is True:
            names[-2] = f"{item.flag}/--no-{item.flag[2:]}"
    elif item.repeated:
        about["multiple"] = True
    worded = not (is_path(item) or bool in item.types)
    metavar = (item.metavar or _choices_shown(item)) if worded else None
    said = {who: text for who, text in defaults.items() if text}
    words = "; ".join(f"{who}: {text}" if who else text for who, text in said.items())
    text = help[:1].upper() + help[1:] + ("" if help.endswith((".", "…")) else ".")
    return cloup.Option(
        names,
        **({"required": True} if item.default is MISSING else {"default": None}),
        metavar=metavar,
        help=f"{text}  [default: {words}]" if words else text,
        group=group,
        **about,
    )


def _choices_shown(item: OptionField) -> str | None:
    listed = item.about.get("choices", ())
    named = "" if callable(listed) or isinstance(listed, str) else "|".join(listed)
    return f"[{named}]" if named and len(named) <= SHOWN_CHOICES else None


def _type(item: OptionField) -> click.ParamType[object]:
    """Return what reads the text of the option as far as click can: whole numbers, numbers, paths; texts as they are."""
    about = item.about
    least, most = about.get("least"), about.get("most")
    has_bounds = least is not None or most is not None
    if is_path(item):
        return click.Path(path_type=Path)
    if item.joined or item.is_numbers or about.get("unit"):
        return click.STRING
    if int in item.types and str not in item.types:
        return click.IntRange(least, most) if has_bounds else click.INT
    if float in item.types and str not in item.types:
        opened = {"min_open": bool(about.get("above")), "max_open": bool(about.get("below"))}
        return click.FloatRange(least, most, **opened) if has_bounds else click.FLOAT
    return Named(item.choices) if "choices" in about else click.STRING
