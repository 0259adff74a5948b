"""The command line: all commands, and what holds for every one. Exit codes are those of ``approxhw.common.errors``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from approxhw.common.version import __version__

from .commands import check, compile, estimate, export, fuzz, multiplier, opt, passes, report, search, simulate
from .commands.eight_bit import compress, eight_bit_rtl, link_model
from .parameters.command import Command, fail_unheard, is_unheard, tell_machine

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: dict[str, Command] = {
    module.COMMAND.name: module.COMMAND
    for module in (
        check,
        compile,
        compress,
        eight_bit_rtl,
        estimate,
        export,
        fuzz,
        link_model,
        multiplier,
        opt,
        passes,
        report,
        search,
        simulate,
    )
}
SHELLS = ("bash", "zsh", "fish")


class _Group(cloup.Group):
    """Commands that are made when they are called; mistyped ones are suggested; wrong options are JSON where asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context | None, name: str) -> click.Command | None:
        """Return the command; its targets are loaded for it, and not before."""
        if name in COMMANDS and name not in self.commands:
            self.add_command(COMMANDS[name].click(), name)
        return self.commands.get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the first lines of their help."""
        short = [(name, click.Command(name, help=COMMANDS[name].help)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            width = formatter.width - 6 - max(len(name) for name in COMMANDS)
            formatter.write_dl([(name, command.get_short_help_str(width)) for name, command in short])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, and the options, that begin like *incomplete*; no target is loaded for that."""
        from click.shell_completion import CompletionItem

        named = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        shorts = {name: click.Command(name, help=COMMANDS[name].help).get_short_help_str() for name in named}
        commands = [CompletionItem(name, help=shorts[name]) for name in named]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at whether a machine listens before anything can be wrong."""
        ctx.meta["json"] = "--json" in args
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # as click declares it
        """Run a command line; where standard output is full or closed, say so in a line, and leave with its exit code."""
        if sys.stdout is None:  # the descriptor was closed by whoever started us
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
                try:
                    super().main(*args, **kwargs)
                except SystemExit as error:
                    if error.code:
                        raise
            fail_unheard("it is closed")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if not is_unheard():
                raise
            fail_unheard(error.strerror or error)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; tell machines of usage errors as of all others."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if ctx.meta["json"]:
                tell_machine(error.format_message(), error.exit_code)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest one that is near."""
        from approxhw.common.options import suggestion

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}{suggestion(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _show_completion(ctx: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # SHELLS are click's own
    click.echo(kind(ctx.command, {}, "approxhw", "_APPROXHW_COMPLETE").source())
    ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="approxhw")
@click.option(
    "--show-completion",
    type=click.Choice(SHELLS),
    is_eager=True,
    expose_value=False,
    callback=_show_completion,
    help="Print what makes Tab complete commands, options and choices; eval it in the shell.",
)
def main() -> None:
    """Trained ONNX classifiers in; verified, low-cost Verilog out, with its area and power."""


if __name__ == "__main__":
    main()
