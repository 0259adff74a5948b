"""The option tables of docs/cli.md are those that the code makes, and every command that has options has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from approxhw.cli.main import COMMANDS
from approxhw.cli.parameters.tables import option_tables, page_with_tables

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_page_holds_the_tables_that_the_code_makes():
    page = PAGE.read_text(encoding="utf-8")
    remedy = "make it anew: make pages"
    assert page_with_tables(page, COMMANDS) == page, remedy
    assert page_with_tables(page.replace("| `--weight-bits` | 8 |", "| `--weight-bits` | 9 |"), COMMANDS) == page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_the_table_of_its_command_once(name):
    tables = option_tables(COMMANDS[name])
    assert (f"<!-- options of {name} -->" in PAGE.read_text(encoding="utf-8")) == bool(tables)
    for _, _, members in COMMANDS[name].groups():
        for each in members:
            if not each.item.about.get("positional"):
                assert tables.count(f"`{each.item.flag}` |") == 1, each.item.flag
                assert each.item.help in tables


def test_a_table_without_an_end_takes_nothing_with_it():
    page = "# Page\n\n<!-- options of export -->\n\n## Next\n\n<!-- options of opt -->\nold\n<!-- end of options -->\n"
    with pytest.raises(ValueError, match="has no end"):
        page_with_tables(page, COMMANDS)
