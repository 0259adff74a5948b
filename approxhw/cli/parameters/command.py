"""A command made of dataclasses: options in groups, the objects that they make, and errors as users read them."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import cloup

from approxhw.common.errors import ApproxhwError, OptionError, Problem
from approxhw.common.option_fields import build_options

from .fields import parameter
from .kinds import CommandKind, Given, Json, Shared, shared_options

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from approxhw.cli.terminal.terminal import Terminal

GENERAL = "General options"


@dataclass(frozen=True)
class Command:
    """A command: ``options`` is the dataclass of what it takes; its help is the docstring of ``run``.

    ``run`` is called with the terminal and the options. Where the command takes different things for different ``kinds``,
    it is called with the terminal and a :class:`Given` instead, and says which kind is meant; ``chosen_by`` names the
    option by which users say it, so that help shows theirs first.
    """

    name: str
    run: Callable[..., Json]
    options: type[DataclassInstance]
    kinds: Callable[[], Sequence[CommandKind]] | None = None
    chosen_by: str = ""

    @property
    def help(self) -> str:
        """What the command does."""
        return self.run.__doc__ or ""

    def groups(self) -> list[tuple[str, tuple[str, ...], list[Shared]]]:
        """Return heading, kinds and options of each group of options; the general ones come first, under no kind."""
        kinds = self.kinds() if self.kinds else ()
        listed = {kind.name: kind.title for kind in kinds if kind.listed}
        found: dict[tuple[str, ...], list[Shared]] = {(): []}
        for each in shared_options(self.options, kinds):
            owners = tuple(name for name in each.by if name in listed)
            found.setdefault(() if len(owners) == len(listed) else owners, []).append(each)
        order = sorted(found, key=len)
        return [(_heading([listed[name] for name in owners]), owners, found[owners]) for owners in order]

    def click(self) -> GroupedCommand:
        """Return the command for click."""
        params: list[click.Parameter] = []
        owners: dict[str, tuple[str, ...]] = {}
        for title, kinds, members in self.groups():
            group = cloup.OptionGroup(title) if self.kinds else None
            owners[title] = kinds
            params += [parameter(each.shown, each.help(), each.defaults(), group) for each in members]
        params += [
            cloup.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object and nothing else."),
            cloup.Option(["-v", "--verbose"], is_flag=True, help="Show tracebacks."),
        ]
        made = GroupedCommand(self.name, params=params, callback=_callback(self), help=self.help)
        made.owners, made.chosen_by = owners, self.chosen_by
        return made


def _heading(titles: Sequence[str]) -> str:
    return " and ".join(titles) if titles else GENERAL


class GroupedCommand(cloup.Command):
    """Shows the options of the kind that is chosen first, then the general ones, then those of others."""

    owners: dict[str, tuple[str, ...]]
    chosen_by: str

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at which kind is chosen before ``--help`` ends it all."""
        if self.chosen_by:
            with suppress(click.UsageError):  # what is wrong is told below
                ctx.meta[GENERAL] = self.make_parser(ctx).parse_args(list(args))[0].get(self.chosen_by)
        return super().parse_args(ctx, args)

    def format_params(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups in the order that suits what is chosen."""
        if self.chosen_by:
            known = [kinds[0] for kinds in self.owners.values() if len(kinds) == 1]
            said = ctx.meta.get(GENERAL)
            chosen = said if said in known else known[0]

            def rank(group: cloup.OptionGroup) -> int:
                kinds = self.owners[group.title]
                return 0 if kinds == (chosen,) else 1 if not kinds else 2 if chosen in kinds else 3

            self.option_groups = sorted(self.option_groups, key=rank)
        super().format_params(ctx, formatter)


def _callback(command: Command) -> Callable[..., None]:
    def called(as_json: bool, verbose: bool, **values: object) -> None:
        from approxhw.cli.terminal.ending import EndedError, LostInterrupts, ended_in_order, interrupts_kept
        from approxhw.cli.terminal.terminal import Terminal
        from approxhw.common.files import locks_kept

        said = {name: value for name, value in values.items() if value is not None and value != ()}
        terminal, lost = Terminal(as_json), LostInterrupts()
        try:
            with interrupts_kept() as lost, ended_in_order(), locks_kept(), _what_is_written(said), terminal:
                result = _run(command, terminal, said)
        except ApproxhwError as error:
            if verbose:
                traceback.print_exc()
            _fail(str(error), error.exit_code, as_json)
        except KeyboardInterrupt:
            _fail("interrupted; what was finished stays", 130, as_json)
        except EndedError as error:
            try:
                _tell(f"ended by {error}; what was finished stays", error.exit_code, as_json)
                sys.stdout.flush()
            except OSError:  # the terminal is gone; what Python flushes at its end must not change the exit code
                for stream in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            sys.exit(error.exit_code)
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit):
            raise
        except OSError as error:  # what the library did not expect: a full disk under temporary files, say
            from approxhw.common.files import unwritable

            if is_unheard():
                raise

            if verbose:
                traceback.print_exc()
            refused = unwritable(Path(error.filename or "temporary files"), error)
            _fail(str(refused), refused.exit_code, as_json)
        except Exception as error:
            if verbose:
                traceback.print_exc()
            if lost.any:
                _fail("interrupted; what was finished stays", 130, as_json)
            text = f"defect of approxhw: {type(error).__name__}: {error}\n    do: run it again with -v and report what it says"
            _fail(text, 70, as_json)
        else:
            if as_json:
                click.echo(json.dumps(result, indent=1))

    return called


@contextmanager
def _what_is_written(said: Mapping[str, object]) -> Iterator[None]:
    """Lock what the command will write into, before anything is read: a second run is told of the first at once."""
    from approxhw.common.files import locked

    design = said.get("design")
    folder = said.get("output") or (design if isinstance(design, Path) and design.is_dir() else None)
    with locked(Path(str(folder))) if folder else nullcontext():
        yield


def _run(command: Command, terminal: Terminal, said: dict[str, object]) -> Json:
    if command.kinds is not None:
        kinds = {kind.name: kind for kind in command.kinds()}
        return command.run(terminal, Given(command.name, command.options, kinds, said))
    problems: list[Problem] = []
    options = build_options(command.options, said, problems)
    if problems:
        raise OptionError(command.name, problems)
    return command.run(terminal, options)


def _fail(text: str, code: int, as_json: bool) -> None:
    _tell(text, code, as_json)
    sys.exit(code)


def _tell(text: str, code: int, as_json: bool) -> None:
    if as_json:
        with suppress(OSError):  # standard output is full: people are told all the same
            tell_machine(text, code)
    click.echo(f"error: {text}", err=True)


def is_unheard() -> bool:
    """Whether standard output takes nothing any more: a full disk, or a closed descriptor, behind it.

    It is asked with an empty line, after something failed to be written somewhere: what failed once is not kept, so a flush
    tells nothing.
    """
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except io.UnsupportedOperation:  # no descriptor at all: a test's own
        return False
    except (OSError, ValueError):
        return True
    return False


def fail_unheard(why: object) -> NoReturn:
    """Say on standard error that standard output takes nothing, and leave; nobody tries to write the rest again."""
    from approxhw.common.errors import OutputError

    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    click.echo(f"error: standard output cannot be written ({why}): what was found is not told", err=True)
    sys.exit(OutputError.exit_code)


def tell_machine(text: str, code: int) -> None:
    """Print an error as the one object of ``--json``."""
    click.echo(json.dumps({"error": text, "exit_code": code}, indent=1))


def command_line() -> str:
    """Return the command as it was typed: it stands in designs, fronts and reports."""
    return shlex.join(["approxhw", *sys.argv[1:]])
