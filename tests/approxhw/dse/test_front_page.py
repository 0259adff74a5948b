"""The page of a front: its figures, its texts escaped, and what its script draws in a real browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import pytest

from approxhw.artifacts.front import Front
from approxhw.common.tools import Tool, run_tool
from approxhw.report import render_front, write_front_page

QUIET = (
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
WIDTHS = (390, 820, 1280)


def browse(chromium: Tool, folder: Path, text: str, *arguments: str) -> str:
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    return run_tool(
        chromium, [*QUIET, profile, "--virtual-time-budget=3000", *arguments, page.as_uri()], timeout=120
    ).output


def told(dom: str) -> dict:
    match = re.search(r'<pre id="result">([^<]*)</pre>', dom)
    assert match, dom[-2000:]
    return json.loads(html.unescape(match[1]))


def probed(text: str, script: str) -> str:
    """Return the page without its policy and with a *script* that puts an object into ``result``."""
    text, count = POLICY.subn("", text)
    assert count == 1
    probe = f"<script>addEventListener('load', () => {{ const result = {{}}; {script}; const p = document.createElement('pre');"
    probe += "p.id = 'result'; p.textContent = JSON.stringify(result); document.body.append(p); });</script>"
    return text.replace("</body>", probe + "</body>")


def test_every_member_is_in_the_table_with_its_own_report(plain_front: Front) -> None:
    text = render_front(plain_front, "build/front")
    assert re.findall(r'<a href="([^"]+)">', text) == [f"members/{i:02d}/report.html" for i in range(12)]
    assert text.count("84.20 %") == 1, "test accuracy of the chosen member, in the table"
    assert "0.140" in text
    assert "approxhw compile build/front --pick chosen -o OUTPUT" in text
    assert "the smallest member within 5 % of the model on validation rows" in text
    numbers = json.loads(re.search(r'id="numbers">(.*?)</script>', text)[1])
    assert [member["area"] for member in numbers["members"]] == [m.area_mm2 / 100 for m in plain_front.members]
    assert [member["index"] for member in numbers["members"] if member["chosen"]] == [5]


def test_the_policy_lets_this_one_script_run_and_nothing_else(plain_front: Front) -> None:
    text = render_front(plain_front, "front")
    policy = html.unescape(POLICY.search(text)[0])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in policy
    assert not re.search(r'(?:src|href)="(?!members/)', text), "it loads nothing"
    assert "innerHTML" not in scripts[0]
    assert "eval" not in scripts[0].replace("removal", "")


def test_the_script_gets_no_text_of_a_model(hostile_front: Front) -> None:
    text = render_front(hostile_front, "front")
    numbers = re.search(r'id="numbers">(.*?)</script>', text)[1]
    assert "owned" not in numbers
    assert "<img" not in text
    assert text.count("<script") == 2


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its policy"])
def test_no_script_of_a_hostile_model_runs(guarded: bool, chromium: Tool, tmp_path: Path, hostile_front: Front) -> None:
    text = render_front(hostile_front, "front")
    dom = browse(chromium, tmp_path, text if guarded else POLICY.sub("", text), "--dump-dom")
    assert "<title>owned" not in dom
    assert dom.count("<circle") == 2, "its one member is drawn in both plots all the same"


def test_both_plots_show_every_member_the_model_and_the_batteries(
    chromium: Tool, tmp_path: Path, plain_front: Front
) -> None:
    dom = browse(chromium, tmp_path, render_front(plain_front, "front"), "--dump-dom")
    assert dom.count("<circle") == 24
    assert dom.count('class="chosen"') == 3, "a circle in each plot, and its line of the table"
    assert dom.count('class="battery"') == 1, "members reach 4.6 mW: the line at 6 mW is in sight"
    assert "model itself, 90.6 %" in dom
    assert "Accuracy on validation rows over power" in dom


def test_pointing_toggling_and_sorting(chromium: Tool, tmp_path: Path, plain_front: Front) -> None:
    script = """
      const press = text => [...document.querySelectorAll('button')]
        .find(b => b.textContent === text).click();
      const across = chart => [...chart.querySelectorAll('circle')].map(p => +p.getAttribute('cx'));
      const places = () => [...document.querySelectorAll('.chart')].map(across);
      document.querySelector('.chart circle[data-index="5"]').parentElement
        .dispatchEvent(new PointerEvent('pointerenter'));
      result.tip = document.querySelector('.tip').textContent;
      result.marked = [...document.querySelectorAll('tr.on')].map(row => row.dataset.index);
      result.order = [...document.querySelectorAll('table.members tbody tr')].map(row => +row.dataset.index);
      result.before = places();
      press('With converters');
      result.batteries = [...document.querySelectorAll('.chart .words')].map(t => t.textContent);
      result.fed = places();
      press('Test rows');
      result.titles = [...document.querySelectorAll('.chart .title')].map(t => t.textContent);
      press('Area, cm²'); press('Area, cm²');
      result.sorted = [...document.querySelectorAll('table.members tbody tr')].map(row => +row.dataset.index);
    """
    seen = told(browse(chromium, tmp_path, probed(render_front(plain_front, "front"), script), "--dump-dom"))
    for part in ("Member 05, chosen", "85.70 %", "84.20 %", "0.14 cm²", "0.49 mW", "9.24 mW", "Inputs used7"):
        assert part in seen["tip"], part
    assert seen["marked"] == ["5"]
    assert seen["order"] == list(range(12))
    assert seen["sorted"] == list(range(11, -1, -1))
    area, power = seen["before"]
    assert area == sorted(area)
    assert len(area) == 12
    assert seen["fed"][0] == area
    assert seen["fed"][1] != power
    assert {"6 mW", "15 mW", "30 mW"} <= set(seen["batteries"]), "converters need up to 21 mW"
    assert seen["titles"] == ["Accuracy on test rows over area", "Accuracy on test rows over power"]


def test_members_of_families_have_shapes_and_the_promise_stands_beside_them(
    chromium: Tool, tmp_path: Path, front_of_families: Front
) -> None:
    text = render_front(front_of_families, "front")
    dom = browse(chromium, tmp_path, text, "--dump-dom")
    assert dom.count("<circle") == 2 * 6, "masked networks are circles, as ever"
    assert len(re.findall(r'<path d="M-4.8 -4.8[^>]*class="f1', dom)) == 2 * 6, "trees are squares"
    assert "Accuracy on rows never seen, as expected over area" in dom
    assert "85.3 %" in dom
    assert "95 %: 82.9 % to 87.6 %; test 84.2 %" in text
    assert "by 1488 rows that neither its choice nor its fit saw" in text
    assert text.count('<td class="recipe">') == 12
    assert '<td class="recipe">tree, 5 leaves</td>' in text
    assert text.count(", not expected to hold it") == 1


def test_the_curve_of_what_may_be_asked_for_is_drawn_without_the_script(front_of_families: Front) -> None:
    text = render_front(front_of_families, "front")
    asked = text[text.index('<section id="asked">') :]
    asked = asked[: asked.index("</section>")]
    assert asked.count("<svg") == 2
    assert asked.count("mark f") == 2 * (12 + 1), "an accuracy each, and the one that is chosen"
    assert asked.count(' open"') == 2
    assert asked.count('class="band"') == 1
    assert "76.8 % asked: mlp, 0.0043" in asked
    places = [
        float(y) for y in re.findall(r'class="mark f\d(?: open)?" transform="translate\([\d.]+ ([\d.]+)\)', asked)
    ]
    assert places[:12] == sorted(places[:12], reverse=True), "what holds more costs more"
    assert all(34 <= y <= 256 for y in places)


def test_fronts_that_promise_nothing_have_no_curve(plain_front: Front) -> None:
    text = render_front(plain_front, "front")
    assert 'id="asked"' not in text
    assert "promised" not in text
    assert 'class="legend"' not in text


@pytest.mark.parametrize("which", ["plain_front", "hostile_front", "front_of_families"])
def test_nothing_sticks_out_on_phone_tablet_or_desk(
    which: str, chromium: Tool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = html.escape(POLICY.sub("", render_front(request.getfixturevalue(which), "front")), quote=True)
    frames = "".join(f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{text}"></iframe>' for w in WIDTHS)
    probe = """<script>addEventListener("load", () => { const p = document.createElement("pre"); p.id = "result";
      p.textContent = JSON.stringify(Object.fromEntries([...document.querySelectorAll("iframe")].map(f => {
        const root = f.contentDocument.documentElement; return [f.clientWidth, root.scrollWidth - root.clientWidth]; })));
      document.body.append(p); });</script>"""
    dom = browse(chromium, tmp_path, f"<!DOCTYPE html><meta charset=utf-8><body>{frames}{probe}", "--dump-dom")
    assert told(dom) == {str(width): 0 for width in WIDTHS}


def test_the_page_of_a_real_front_is_written_beside_it(found) -> None:
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("members/") >= len(found.members)
    for member in found.members:
        assert (found.folder / member.member.design / "report.html").is_file()
    assert "quantize-inputs" in page
    assert str(found.folder) in page


def test_a_page_is_whole_or_not_there(plain_front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from approxhw.common.errors import OutputError

    page = tmp_path / "report.html"
    write_front_page(page, plain_front, "front")
    before = page.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_front_page(page, plain_front, "other")
    assert page.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
