"""The project's papers: licence, citation and changelog say what they have to say, and agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = read("LICENSE")
    assert len(text.split()) == 1581
    for section in range(1, 10):
        assert re.search(rf"^   {section}\. [A-Z]", text, re.MULTILINE), section
    assert PROJECT["license"] == "Apache-2.0"


@pytest.mark.parametrize("paper", ["2402.02930", "2312.17612", "2408.11997", "1511.04561"])
def test_the_citation_names_each_paper(paper: str) -> None:
    assert f'value: "arXiv:{paper}"' in read("CITATION.cff")


def test_versions_agree() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in read("CITATION.cff")
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", read("CHANGELOG.md"), re.MULTILINE)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md")]
    assert len(pages) >= 5
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_test_command_in_contributing_works_on_something_that_exists() -> None:
    for path in re.findall(r"pytest (tests/\S+)", read("CONTRIBUTING.md")):
        assert (CHECKOUT / path).exists(), path
    makefile = read("Makefile")
    for target in re.findall(r"^make (\w+)", read("CONTRIBUTING.md"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
