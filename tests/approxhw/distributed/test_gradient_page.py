"""docs/gradients.md: its script runs under torchrun, its figures are those of the formula, every option is in there."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from approxhw.distributed.gradients import CompressedExchange
from approxhw.distributed.shard_exchange import Shards
from approxhw.numerics.eight_bit.codes import dynamic8

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "gradients.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_script_trains_on_two_ranks(tmp_path):
    if importlib.util.find_spec("torch") is None:
        why = "PyTorch is not here; pip install 'approxhw[gradients]'"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "train.py").write_text(block, encoding="utf-8")
    assert "torchrun --nproc-per-node 2 train.py" in PAGE
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    match = re.fullmatch(r"loss (\d\.\d+), (\d\.\d+) times fewer bytes than float32\n", done.stdout)
    assert match, done.stdout
    assert 0.5 < float(match[1]) < 2.3  # of ten classes drawn at random, ln 10 at first
    assert match[2] == "3.94"


def test_the_table_of_ratios_is_the_formula():
    (blocks,) = re.findall(r"^\| block \| (.*) \|$", PAGE, re.MULTILINE)
    (ratios,) = re.findall(r"^\| times fewer bytes \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(blocks.split(" | ")) == 4
    for block, said in zip(blocks.split(" | "), ratios.split(" | ")):
        for ranks in (2, 4, 8):
            shards = Shards(dynamic8(int(block)), 2**20, ranks)
            ratio = shards.ring_bytes / shards.bytes_sent
            assert f"{ratio:.{len(said) - 2}f}" == said
            assert ratio == 4 / (1 + 4 / int(block))


def test_every_option_is_described():
    options = list(inspect.signature(CompressedExchange).parameters)
    assert options == ["format", "error_feedback", "group", "nonfinite"]
    for name in options:
        assert re.search(rf"^\| `{name}[=`]", PAGE, re.MULTILINE), name
