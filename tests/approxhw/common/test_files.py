"""One place reads what others wrote: plain files alone, never more than a limit; and nobody's links are followed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from approxhw.common.errors import OptionError, OutputError, Problem
from approxhw.common.files import (
    check_folder,
    is_plain_file,
    of_pattern,
    opened,
    read_bytes,
    read_text,
    unwritable,
    write_beside,
)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "it is a pipe, no file"),
        (os.mkdir, "it is a folder, no file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, no file"),
        (lambda path: path.write_bytes(b"x" * 11), "it is larger than 10 bytes"),
    ],
)
def test_what_is_no_plain_file_is_refused_before_it_is_opened(make, why, tmp_path, monkeypatch):
    make(tmp_path / "x")
    if "larger" not in why:
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(OSError, match=why) as caught:
        read_bytes(tmp_path / "x", 10)
    assert str(caught.value) == why
    assert is_plain_file(tmp_path / "x") == ("larger" in why)


def test_a_device_that_takes_the_place_of_a_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("a")
    real = os.open
    monkeypatch.setattr(os, "open", lambda name, flags, *more: real("/dev/zero", flags, *more))
    with pytest.raises(OSError, match="it is a device, no file"), opened(path):
        pass


def test_text_loses_its_mark_and_the_line_ends_of_other_systems(tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "x", 100) == "a\nb\nc\n"
    assert read_bytes(tmp_path / "x", 10) == b"\xef\xbb\xbfa\r\nb\rc\n"
    with pytest.raises(OSError, match="larger than 9 bytes"):
        read_bytes(tmp_path / "x", 9)


def test_no_path_at_all():
    assert not is_plain_file(Path("x" * 5000))
    assert not is_plain_file(Path("a\0b"))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.ENOSPC, "free some space or choose another folder"),
        (errno.EACCES, "choose a folder that you may write to"),
        (errno.ENOTDIR, "choose another folder"),
    ],
)
def test_advice_fits_what_went_wrong(number, remedy):
    assert str(unwritable(Path("out"), OSError(number, os.strerror(number)))).endswith(f"    do: {remedy}")


def test_writing_follows_no_link_that_waits_beside(tmp_path):
    """A link at the name of the half-written file led a command anywhere."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "in").mkdir()
    for name in ("a.json", ".a.json.part"):
        (tmp_path / "in" / name).symlink_to(outside)
    write_beside(tmp_path / "in" / "a.json", "{}")
    assert outside.read_text() == "mine"
    assert (tmp_path / "in" / "a.json").read_text() == "{}"
    assert not (tmp_path / "in" / "a.json").is_symlink()


def test_a_name_that_is_too_long_is_told_as_such(tmp_path):
    with pytest.raises(OutputError, match="do: choose a shorter name"):
        write_beside(tmp_path / ("x" * 5000), "")


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("estimate/a.json", "estimate/*.json", True),
        ("estimate/b/a.json", "estimate/*.json", False),
        ("estimate/a.txt", "estimate/*.json", False),
        ("report.html", "report.html", True),
        ("simulation/x/y/z", "simulation/**", True),
        ("simulation", "simulation/**", False),
    ],
)
def test_patterns_match_part_by_part(name, pattern, fits):
    assert of_pattern(name, pattern) == fits


@pytest.mark.parametrize("link", ["mine", "sub/mine"])
def test_a_folder_that_holds_links_is_not_replaced(link, tmp_path):
    """To files and to folders: what is behind a link is not ours."""
    out = tmp_path / "out"
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(tmp_path)
    with pytest.raises(OutputError, match="holds links, which approxhw does not make: " + link):
        check_folder(out, "a thing", lambda folder: ({"mine", "sub/mine"}, ()))


def test_equal_problems_are_told_once_and_those_of_many_places_in_a_line():
    same = [Problem("node a", "bad", "mend it")] * 14
    assert str(OptionError("x", same)) == "x: 1 problem\n  node a: bad\n    do: mend it"
    many = [Problem(f"node {i}", "bad", "mend it") for i in range(14)]
    assert str(OptionError("x", [*many, Problem("node b", "worse")])) == (
        "x: 15 problems\n  node 0: bad\n    do: mend it\n    and 13 more nodes: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"
        " and 1 other\n  node b: worse"
    )
    assert str(OptionError("x", many[:2])).count("bad") == 2
    assert len(OptionError("x", many).problems) == 14
