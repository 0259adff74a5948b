"""Vouched folders: what is written comes back, folders of before are read, and what is altered, newer or forged is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypedDict

import pytest

from approxhw.artifacts import folder as vouched
from approxhw.artifacts.design import DESIGN
from approxhw.artifacts.engine import ENGINE, EngineDesign, LayerInfo, is_engine, read_engine, write_engine
from approxhw.artifacts.folder import FolderFormat, read_folder, record_of, write_folder, write_texts
from approxhw.common.errors import InvalidDesignError, OutputError
from approxhw.ir.pass_manager import PassRecord


class Origin(TypedDict, total=False):
    title: str
    rows: int | None


@dataclass(frozen=True)
class Part:
    name: str
    bits: tuple[int, ...]
    size: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Record:
    format: str
    parts: tuple[Part, ...]
    origin: Origin = field(default_factory=Origin)
    by_name: Mapping[str, Part | None] = field(default_factory=dict)
    note: str | None = None
    files: Mapping[str, str]


THING = FolderFormat(
    name="a thing",
    version=2,
    record=Record,
    needed=lambda told: [f"parts/{part.name}.txt" for part in told.parts],
    later=("report.html",),
    what="a thing",
    missing="no thing",
    make="make a thing",
    again="make it again",
    file="thing.json",
)
PARTS = (Part("one", (0, 3)), Part("two", (), 2.5))


@pytest.fixture
def thing(tmp_path):
    """A folder of two parts."""
    record = Record(format=THING.text, parts=PARTS, origin={"title": "here"}, by_name={"x": PARTS[0]}, files={})
    write_folder(
        tmp_path / "out", THING, record, lambda part: write_texts(part, {"parts/one.txt": "1", "parts/two.txt": "2"})
    )
    return tmp_path / "out"


def _edit(folder, change, file="thing.json"):
    told = json.loads((folder / file).read_text())
    change(told)
    (folder / file).write_text(json.dumps(told))


def _refusal(folder, form=THING):
    with pytest.raises(InvalidDesignError) as caught:
        read_folder(folder, form)
    assert caught.value.subject == str(folder)
    assert len(str(caught.value)) < 900
    return str(caught.value)


def test_what_is_written_comes_back(thing):
    told = read_folder(thing, THING)
    assert told.parts == PARTS
    assert told.by_name == {"x": PARTS[0]}
    assert (told.origin, told.note) == ({"title": "here"}, None)
    assert [*told.files] == ["parts/one.txt", "parts/two.txt"]
    assert told.files["parts/one.txt"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", "of 1"
    there = sorted(path.relative_to(thing).as_posix() for path in thing.rglob("*") if path.is_file())
    assert there == ["parts/one.txt", "parts/two.txt", "thing.json"]
    assert [*json.loads((thing / "thing.json").read_text())] == [f.name for f in fields(Record)]
    assert (thing / "thing.json").read_text().startswith('{\n "format": "a thing 2",\n "parts": [\n  {\n   "name"')


def test_a_folder_that_is_not_whole_is_not_there(tmp_path):
    def fill(part):
        write_texts(part, {"a": "1"})
        return ["a", "b"]

    with pytest.raises(OutputError, match="it cannot be written"):
        write_folder(tmp_path / "out", THING, Record(format=THING.text, parts=(), files={}), fill)
    assert [*tmp_path.iterdir()] == []


def test_fields_with_defaults_may_lack(thing):
    def older(told):
        del told["origin"], told["by_name"], told["note"], told["parts"][0]["size"]

    _edit(thing, older)
    told = read_folder(thing, THING)
    assert (told.origin, told.by_name, told.note, told.parts) == ({}, {}, None, PARTS)


@pytest.mark.parametrize("version", ["a thing 3", "a thing 40"])
def test_a_newer_version_is_refused_with_a_word(thing, version):
    _edit(thing, lambda told: told.update(format=version))
    why = f"thing.json: no thing (format '{version}' is not 'a thing 2': a newer approxhw wrote it)"
    assert why in _refusal(thing)
    assert vouched.is_a(thing, THING), "it is one, and says so when it is read"
    with pytest.raises(OutputError, match="a newer approxhw wrote it"):
        vouched.check_folder_output(thing, THING)


@pytest.mark.parametrize(
    "format", ["a thing 1", "a thing", "a thing x", "a thing -3", "thing 3", "a thing ²", 3, None, [2]]
)
def test_other_formats_are_none(thing, format):
    _edit(thing, lambda told: told.update(format=format))
    assert "thing.json: no thing (format '" in (refusal := _refusal(thing))
    assert "newer" not in refusal
    assert "    do: make a thing" in refusal
    assert not vouched.is_a(thing, THING)


DEEP = {"lists": "[" * 200_000, "objects": '{"a":' * 200_000, "closed": '{"a":' + "[" * 70 + "]" * 70 + "}"}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_json_is_refused(thing, text):
    (thing / "thing.json").write_text(text)
    assert "no thing (more than 64 lists and objects lie in one another)" in _refusal(thing)
    assert not vouched.is_a(thing, THING)


def test_json_as_deep_as_allowed_is_read(thing):
    (thing / "thing.json").write_text('{"format": "a thing 2", "more": ' + "[" * 63 + "]" * 63 + "}")
    assert "no thing ('files')" in _refusal(thing), "the depth is no matter"


def test_a_name_that_no_file_can_have_is_that_of_a_missing_one(thing):
    _edit(thing, lambda told: told["files"].update({"parts/" + "x" * 5000: "0"}))
    assert "xxx…: the file is missing" in _refusal(thing)


def test_huge_json_is_refused(thing, monkeypatch):
    monkeypatch.setattr(vouched, "MAXIMUM_BYTES", 1000)
    assert read_folder(thing, THING).parts == PARTS
    _edit(thing, lambda told: told.update(note="x" * 1000))
    assert "no thing (it is larger than 1000 bytes)" in _refusal(thing)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no thing (Expecting value"),
        ("[]", "no thing (it holds no object)"),
        ("\0", "no thing ("),
        ('"x"', "no object"),
    ],
)
def test_what_is_no_object_is_refused(thing, text, why):
    (thing / "thing.json").write_text(text)
    assert why in _refusal(thing)


def test_a_folder_in_place_of_the_json_is_refused(thing):
    (thing / "thing.json").unlink()
    assert "no thing (No such file" in _refusal(thing)
    (thing / "thing.json").mkdir()
    assert "no thing (it is a folder, no file)" in _refusal(thing)


WRONG = {
    "text for a list": (lambda t: t.update(parts="x"), "parts: of the wrong kind (expected array, got str)"),
    "number for text": (
        lambda t: t["parts"][1].update(name=7),
        "parts[1].name: of the wrong kind (expected str, got int)",
    ),
    "fraction for whole": (lambda t: t["parts"][0].update(bits=[1, 2.5]), "parts[0].bits[1]: of the wrong kind"),
    "truth for whole": (lambda t: t["parts"][0].update(bits=[True]), "parts[0].bits[0]: of the wrong kind"),
    "null": (lambda t: t.update(by_name=None), "by_name: of the wrong kind (expected object, got null)"),
    "a lacking field": (lambda t: t["parts"][0].pop("bits"), "parts[0].bits: it is missing"),
    "a lacking list": (lambda t: t.pop("parts"), "thing.json: it does not fit its files (parts: it is missing)"),
    "a foreign field": (lambda t: t["parts"][1].update(colour=1), "parts[1].colour: there is no such field"),
    "a foreign key": (lambda t: t["origin"].update(colour=1), "origin.colour: there is no such field"),
    "deeper": (lambda t: t["by_name"]["x"].update(colour=1), "by_name[x].colour: there is no such field"),
    "two at once": (
        lambda t: t.update(parts=3, note=[]),
        "parts: of the wrong kind (expected array, got int); note: of",
    ),
    "digests": (lambda t: t.update(files={"a": 3}), "thing.json: no thing (files[...]: of the wrong kind"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_fields_of_the_wrong_kind_are_named(thing, wrong):
    change, why = WRONG[wrong]
    _edit(thing, change)
    refusal = _refusal(thing)
    assert refusal.startswith(f"{thing}: 1 problem\n  thing.json: ")
    assert why in refusal


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret", "parts/../../secret", "parts/../parts/one.txt", "a\0b", "link"]
)
def test_files_elsewhere_are_refused(thing, name):
    (thing.parent / "secret").write_text("s")
    (thing / "link").symlink_to(thing.parent / "secret")
    _edit(thing, lambda told: told["files"].update({name: "0"}))
    assert f"  {vouched.shown(name)}: it lies outside the folder\n    do: make it again" in _refusal(thing)


def test_an_absolute_path_is_refused_even_into_the_folder(thing):
    _edit(thing, lambda told: told["files"].update({str(thing / "parts/one.txt"): told["files"]["parts/one.txt"]}))
    assert "parts/one.txt: it lies outside the folder" in _refusal(thing)


def test_links_are_not_followed_out_of_the_folder_nor_round(thing):
    (thing.parent / "parts").mkdir()
    for name in ("one", "two"):
        (thing / f"parts/{name}.txt").rename(thing.parent / f"parts/{name}.txt")
    (thing / "parts").rmdir()
    (thing / "parts").symlink_to(thing.parent / "parts")
    refusal = _refusal(thing)
    assert refusal.count("it lies outside the folder") == 2
    (thing / "parts").unlink()
    (thing / "parts").symlink_to(thing / "parts")
    assert _refusal(thing).count("it lies outside the folder") == 2


def test_all_faults_are_told_at_once(thing):
    (thing / "parts/one.txt").write_text("other")
    (thing / "parts/two.txt").unlink()
    _edit(thing, lambda told: told["parts"].append({"name": "three", "bits": []}))
    refusal = _refusal(thing)
    assert refusal.startswith(f"{thing}: 3 problems\n")
    assert (
        "  parts/one.txt: the file was changed since it was compiled\n    do: make it again, or copy it else" in refusal
    )
    assert "  parts/two.txt: the file is missing" in refusal
    assert "  parts/three.txt: thing.json does not vouch for it" in refusal
    _edit(thing, lambda told: told.update(note=3))
    refusal = _refusal(thing)
    assert refusal.startswith(f"{thing}: 3 problems\n")
    assert "note: of the wrong kind (expected str | null, got int)" in refusal
    assert "parts/two.txt: the file is missing" in refusal


def test_only_folders_of_the_format_are_replaced(thing):
    vouched.check_folder_output(thing, THING)
    (thing / "report.html").write_text("page")
    vouched.check_folder_output(thing, THING)
    with pytest.raises(OutputError, match="it exists and was not written by approxhw"):
        vouched.check_folder_output(thing, ENGINE)
    (thing / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"it is a thing, but holds files that approxhw did not write: mine\.txt"):
        vouched.check_folder_output(thing, THING)


def test_numbers_keep_their_values():
    told = {"name": "x", "bits": [0, 10**30], "size": 3}
    assert record_of(told, Part) == Part("x", (0, 10**30), 3.0)
    assert math.isnan(record_of({**told, "size": math.nan}, Part).size)


FIELDS = {
    "rows": 2,
    "columns": 2,
    "mac": {"format": "bf16", "accumulator_bits": 20, "normalization": "exact", "alignment": None},
    "depth": 2,
    "result": "float32",
    "vectors": 16,
    "fast": False,
    "codes": None,
}
LINE = PassRecord(1, "p", "p", {"n": [1]}, "exact", 0.5, 3, 2, None, None, 0.5, 0.5, 9, 8, 7, ["a note"])


@pytest.fixture
def engine(tmp_path):
    """A folder that says that an engine of a single layer is in it."""
    design = EngineDesign(
        name="net",
        engine=FIELDS,
        modules={"top": "module top;\nendmodule\n"},
        layers=(LayerInfo("first", "Gemm", 4, 3, 2, 1, "float32"),),
        operands={},
        version="0.1.0",
        clock_ns=10.0,
        ledger=(vouched.as_json(LINE),),
    )
    write_engine(design, tmp_path / "engine")
    return tmp_path / "engine"


def test_an_engine_comes_back(engine):
    found = read_engine(engine)
    assert found.engine == FIELDS
    assert found.ledger == (vouched.as_json(LINE),)
    assert found.layers == (LayerInfo("first", "Gemm", 4, 3, 2, 1, "float32"),)
    assert found.modules == {"top": "module top;\nendmodule\n"}
    told = (engine / "design.json").read_text()
    write_engine(found, engine)
    assert (engine / "design.json").read_text() == told


def test_an_engine_of_before_is_read(engine):
    def older(told):
        del told["pipeline"], told["ledger"], told["engine"]["codes"], told["engine"]["mac"]["alignment"]
        del told["layers"][0]["compression"], told["layers"][0]["operands"]

    _edit(engine, older, "design.json")
    found = read_engine(engine)
    assert (found.pipeline, found.ledger) == ("", ())
    assert found.layers == (LayerInfo("first", "Gemm", 4, 3, 2, 1, "float32"),)
    assert "codes" not in found.engine


def test_an_engine_of_a_newer_approxhw_is_one(engine):
    _edit(engine, lambda told: told.update(format="approxhw engine 2"), "design.json")
    assert is_engine(engine)
    why = "no matrix engine (format 'approxhw engine 2' is not 'approxhw engine 1': a newer approxhw wrote it)"
    assert why in _refusal(engine, ENGINE)
    assert not vouched.is_a(engine, DESIGN)


ENGINES = {
    "sizes": (lambda t: t["layers"][0].update(k=-1), "sizes of layer first"),
    "kinds": (lambda t: t["layers"][0].update(k="3"), "layers[0].k: of the wrong kind (expected int, got str)"),
    "shifts": (lambda t: t["layers"][0].update(shifts=[1, -1]), "sizes of layer first"),
    "codes": (lambda t: t["layers"][0].update(compression={"x": {}}), "8-bit codes of layer first"),
    "modules": (lambda t: t.update(modules=["a b"]), "names of modules"),
    "an array": (lambda t: t["engine"].pop("mac"), "engine.mac: it is missing"),
    "ledger": (lambda t: t["ledger"][0].pop("spelled"), "ledger[0].spelled: it is missing"),
    "operands": (
        lambda t: t["layers"][0].update(operands="operands/00.npz"),
        "operands/00.npz: design.json does not vouch",
    ),
}


@pytest.mark.parametrize("forged", ENGINES)
def test_forged_engines_are_refused_by_name(engine, forged):
    change, why = ENGINES[forged]
    _edit(engine, change, "design.json")
    assert why in _refusal(engine, ENGINE)


def test_every_format_has_its_own_words():
    assert (DESIGN.text, ENGINE.text) == ("approxhw design 2", "approxhw engine 1")
    assert not replace(DESIGN, version=3).is_newer("approxhw design 3")
    assert DESIGN.is_newer("approxhw design 3")
    assert DESIGN.reads("approxhw design 1")
    assert not DESIGN.reads("approxhw design 0")
    assert not ENGINE.reads("approxhw engine 2")
    assert not DESIGN.is_newer("approxhw engine 2")


def test_designs_that_lie_below_are_named(tmp_path):
    for name in ("00", "01"):
        (tmp_path / "members" / name).mkdir(parents=True)
        (tmp_path / "members" / name / "design.json").write_text("{}")
    why = "no design: this is none, but 2 lie below it"
    with pytest.raises(InvalidDesignError, match=f"{why}\n    do: name one of them: {tmp_path}/members/00, "):
        read_folder(tmp_path, DESIGN)
    members = [{"design": "members/00", "chosen": False}, {"design": "members/01", "chosen": True}]
    (tmp_path / "front.json").write_text(json.dumps({"members": members}))
    why = "no design: this is a front, which is many designs"
    with pytest.raises(InvalidDesignError, match=f"{why}\n    do: name one of them: {tmp_path}/members/01, "):
        read_folder(tmp_path, DESIGN)
    (tmp_path / "members" / "00" / "design.json").unlink()
    with pytest.raises(InvalidDesignError, match="this is none, but 1 lie below it"):
        read_folder(tmp_path / "members", DESIGN)
