"""Sessions in the background, or under ``nohup``, ignore SIGINT: programs that tests send it to heed it all the same."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from programs import heeded

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def ignoring():
    """What a shell does for jobs in the background, and ``nohup`` for SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_program_heeds_what_the_session_ignores(ignoring, number):
    with subprocess.Popen(["/bin/sleep", "1000"]) as deaf:
        deaf.send_signal(number)
        with heeded(), subprocess.Popen(["/bin/sleep", "1000"]) as hearing:
            hearing.send_signal(number)
            assert hearing.wait(timeout=60) == -number
        time.sleep(0.05)
        assert deaf.poll() is None, "it inherits that it is ignored: the session is as in the background"
        deaf.kill()
    assert signal.getsignal(number) is signal.SIG_IGN, "and is as before"


def test_whoever_sends_such_a_signal_to_a_program_has_it_heeded():
    """Those that send it to workers, which must ignore it, do so by ``os.kill``."""
    sends = re.compile(r"(send_signal|_ended)\(signal\.SIG(INT|HUP)|send_signal\(number\)")
    texts = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    senders = [name for name, text in texts.items() if sends.search(text)]
    assert len(senders) >= 3
    assert [name for name in senders if "heeded(" not in texts[name]] == []
