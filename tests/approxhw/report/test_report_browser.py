"""The page in a real browser: it opens, it is not blank, no script of a hostile model runs, nothing sticks out."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from approxhw.common.tools import Tool, run_tool
from approxhw.report import ReportData, render, write_report

QUIET = (
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
WIDTHS = (390, 820, 1280)


def browse(chromium: Tool, folder: Path, page: Path, *arguments: str) -> str:
    profile = f"--user-data-dir={folder / 'profile'}"
    return run_tool(chromium, [*QUIET, profile, *arguments, page.as_uri()], timeout=120).output


@pytest.mark.parametrize("which", ["realistic", "hostile", "empty"])
def test_the_page_opens_and_is_not_blank(
    which: str, chromium: Tool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from matplotlib import image

    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    write_report(page, request.getfixturevalue(which))
    browse(chromium, tmp_path, page, f"--screenshot={picture}", "--window-size=1280,1600")
    pixels = image.imread(picture)[:, :, :3]
    assert pixels.shape == (1600, 1280, 3)
    paper = pixels[2, 2]
    ink = (abs(pixels - paper) > 0.25).any(axis=2)
    assert 0.005 < ink.mean() < 0.5, "neither blank nor all ink"
    assert ink[:400].any(), "the headline"
    assert ink[800:].any(), "the body"


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its policy"])
def test_no_script_of_a_hostile_model_runs(guarded: bool, chromium: Tool, tmp_path: Path, hostile: ReportData) -> None:
    """Escaping alone has to do it: the second run takes the page's Content-Security-Policy away."""
    text, count = (render(hostile), 1) if guarded else POLICY.subn("", render(hostile))
    assert count == 1
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    dom = browse(chromium, tmp_path, page, "--dump-dom")
    assert "</html>" in dom
    assert "approxhw report</title>" in dom
    assert "<title>owned" not in dom
    assert "&lt;script&gt;" in dom


def test_the_probe_itself_would_see_a_script(chromium: Tool, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<html><title>x</title><body><img src=x onerror=\"document.title='owned'\"></body></html>")
    assert "<title>owned" in browse(chromium, tmp_path, page, "--virtual-time-budget=2000", "--dump-dom")


@pytest.mark.parametrize("which", ["realistic", "hostile", "empty"])
def test_nothing_sticks_out_on_phone_tablet_or_desk(
    which: str, chromium: Tool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = render(request.getfixturevalue(which))
    assert overflows(chromium, tmp_path, text) == dict.fromkeys(WIDTHS, 0)


def test_the_probe_itself_would_see_an_overflow(chromium: Tool, tmp_path: Path, empty: ReportData) -> None:
    text = render(empty).replace("<header>", '<header><div style="width:1000px">wide</div>', 1)
    seen = overflows(chromium, tmp_path, text)
    assert seen[390] > 500
    assert seen[1280] == 0


def overflows(chromium: Tool, folder: Path, text: str) -> dict[int, int]:
    """Return by how many pixels *text* is wider than frames of several widths; the page itself is left as it is."""
    frames = "".join(
        f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{html.escape(text, quote=True)}"></iframe>'
        for w in WIDTHS
    )
    probe = """<pre id="result"></pre><script>addEventListener("load", () => {
      document.getElementById("result").textContent = [...document.querySelectorAll("iframe")].map(f => {
        const root = f.contentDocument.documentElement;
        return f.clientWidth + "=" + (root.scrollWidth - root.clientWidth);
      }).join(" ");
    });</script>"""
    page = folder / "probe.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}{probe}", encoding="utf-8")
    dom = browse(chromium, folder, page, "--virtual-time-budget=3000", "--dump-dom")
    match = re.search(r'<pre id="result">([^<]+)</pre>', dom)
    assert match, dom[-2000:]
    return {int(width): int(over) for width, over in (pair.split("=") for pair in match[1].split())}
