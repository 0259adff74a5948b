"""Gradient exchange between real processes over gloo, against a simulation in one process that shares nothing but the codes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gradient_inputs import FORMATS, LENGTHS, STEPS, gradients

from approxhw.numerics.eight_bit.codes import parse

WORKER = Path(__file__).with_name("exchange_worker.py")
SCENARIOS = ("formats", "exact", "feedback", "counting", "refusals", "types", "group", "trained", "settings", "spoilt")
LAST = "death"
GREETING = 64


@pytest.fixture(autouse=True, scope="module")
def _torch():
    if importlib.util.find_spec("torch") is None:
        why = "PyTorch is not here; pip install 'approxhw[gradients]'"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


class Ranks:
    """Worker processes, one a rank, and what they leave in *folder*."""

    def __init__(self, folder: Path, ranks: int, scenarios: tuple[str, ...]) -> None:
        self.folder, self.ranks = folder, ranks
        self.logs = [(folder / f"log.{rank}").open("wb") for rank in range(ranks)]
        extra = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2] / "helpers")}
        self.processes = [
            subprocess.Popen(
                [sys.executable, WORKER, folder, str(rank), str(ranks), *scenarios],
                stdout=self.logs[rank],
                stderr=subprocess.STDOUT,
                env=os.environ | extra,
            )
            for rank in range(ranks)
        ]

    def wait(self, seconds: float, which: list[int] | None = None) -> list[int]:
        """Wait for the ranks *which*, end the others, and return the exit codes of all."""
        end = time.monotonic() + seconds
        try:
            for rank in range(self.ranks) if which is None else which:
                self.processes[rank].wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"a rank is not done after {seconds} s: {self.tails()}", pytrace=False)
        finally:
            for process, log in zip(self.processes, self.logs):
                process.kill()
                process.wait()
                log.close()
        return [process.returncode for process in self.processes]

    def tails(self) -> str:
        return "\n".join(f"rank {r}: " + (self.folder / f"log.{r}").read_text()[-2000:] for r in range(self.ranks))

    def found(self, scenario: str, rank: int) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{scenario}.{rank}.npz") as file:
            return dict(file)

    def everywhere(self, scenario: str) -> list[dict[str, np.ndarray]]:
        return [self.found(scenario, rank) for rank in range(self.ranks)]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def done(request, tmp_path_factory) -> Ranks:
    """All scenarios, run once by 2 and once by 4 processes: starting PyTorch is what takes long. Rank 1 dies in the last one."""
    ranks = Ranks(tmp_path_factory.mktemp("ranks"), request.param, (*SCENARIOS, LAST))
    codes = ranks.wait(240)
    assert codes[1] == 7, ranks.tails()
    for rank in range(request.param):
        left = [name for name in (*SCENARIOS, LAST) if not (ranks.folder / f"{name}.{rank}.npz").exists()]
        assert left == [LAST] * (rank == 1), ranks.tails()
    return ranks


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    assert a.dtype == b.dtype == np.float32
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def coded(format, values: np.ndarray) -> np.ndarray:
    return format.decode(format.encode(values, ragged=True))


def simulated(text: str, inputs: list[np.ndarray], residuals: list[np.ndarray] | None) -> np.ndarray:
    """Return the mean that all ranks should have; *residuals* (one a rank) are added and renewed."""
    format, ranks, elements = parse(text), len(inputs), len(inputs[0])
    inputs = [values.copy() if residuals is None else values + residuals[r] for r, values in enumerate(inputs)]
    width, mean = (elements + ranks - 1) // ranks, np.empty(elements, dtype=np.float32)
    for owner in range(ranks):
        part = slice(min(owner * width, elements), min(owner * width + width, elements))
        if part.start == part.stop:
            continue
        total = np.zeros(part.stop - part.start, dtype=np.float32)
        for rank, values in enumerate(inputs):
            arrived = values[part] if rank == owner else coded(format, values[part])
            total = total + arrived
            if residuals is not None:
                residuals[rank][part] = values[part] - arrived
        mean[part] = coded(format, total / np.float32(ranks))
        if residuals is not None:
            residuals[owner][part] = (total.astype(np.float64) - ranks * mean[part].astype(np.float64)).astype(
                np.float32
            )
    return mean


def test_every_code_gives_what_one_process_computes(done):
    found, compared = done.everywhere("formats"), 0
    for seed, text in enumerate(FORMATS):
        for length in LENGTHS:
            residuals = [np.zeros(length, dtype=np.float32) for _ in range(done.ranks)]
            for feedback in (False, True):
                for step in range(STEPS):
                    inputs = [gradients(seed, rank, step, length) for rank in range(done.ranks)]
                    wanted = simulated(text, inputs, residuals if feedback else None)
                    for rank in range(done.ranks):
                        assert same_bits(found[rank][f"{text}/{feedback}/{length}/{step}"], wanted), (
                            text,
                            length,
                            rank,
                        )
                        compared += length
            for rank in range(done.ranks):
                assert same_bits(found[rank][f"{text}/residual/{length}"], residuals[rank]), (text, length, rank)
    assert compared == len(FORMATS) * 2 * STEPS * sum(LENGTHS) * done.ranks


def test_the_mean_is_near_the_true_one(done):
    """Two roundings to the code, each at most 1/63 of the value or a little of its block's maximum."""
    found = done.found("formats", 0)
    for length in LENGTHS[3:]:
        inputs = [gradients(1, rank, 0, length) for rank in range(done.ranks)]
        true, got = np.mean(inputs, axis=0), found[f"dynamic8,block=256/False/{length}/0"]
        error = np.abs(got - true).mean() / np.abs(true).mean()
        assert 0.001 < error < 0.03


def test_bytes_are_those_of_codes_and_maxima(done):
    n = done.ranks
    for text in FORMATS:
        format, sent = parse(text), (n - 1) * GREETING
        for length in LENGTHS:
            shard = -(-length // n)
            blocks = 0 if format.maximum == "fixed" else 1 if format.block is None else -(-shard // format.block)
            sent += STEPS * 2 * (n - 1) * (shard + 4 * blocks)
        for feedback in (False, True):
            counted, elements, ring = done.found("formats", 0)[f"{text}/{feedback}/sent"]
            assert counted == sent
            assert elements == STEPS * sum(LENGTHS)
            assert ring == 8 * (n - 1) / n * elements


def test_values_that_are_codes_come_through_exactly(done):
    compared = 0
    for rank in range(done.ranks):
        found = done.found("exact", rank)
        for text in FORMATS:
            given = found[f"{text}/given"]
            assert np.array_equal(found[f"{text}/alike"], given), text
            compared += len(given)
            if parse(text).maximum != "fixed":  # a fixed table does not scale
                assert np.array_equal(found[f"{text}/alone"], given / np.float32(done.ranks)), text
    assert compared == done.ranks * len(FORMATS) * 1280 * done.ranks


def test_error_feedback_loses_nothing_over_many_steps(done):
    """Sums of what was given and of what came back: with feedback they stay as near as after 10 steps, without they part."""
    found, n = done.everywhere("feedback"), done.ranks
    for text in ("dynamic8,block=256", "linear8,block=256", "static8"):
        apart = {}
        for keep in (False, True):
            for steps in (10, 100):
                given = sum(f[f"{text}/{keep}/given/{steps}"] for f in found) / n
                got = found[0][f"{text}/{keep}/got/{steps}"]
                assert all(np.array_equal(got, f[f"{text}/{keep}/got/{steps}"]) for f in found)
                apart[keep, steps] = float(np.sqrt(np.mean((given - got) ** 2)))
        assert apart[True, 100] < 1.5 * apart[True, 10]
        assert apart[False, 100] > 2 * apart[False, 10]
        assert apart[True, 100] < apart[False, 100] / 8
        left = sum(f[f"{text}/residual"].astype(np.float64) for f in found)
        given = sum(f[f"{text}/True/given/100"] for f in found)
        assert np.allclose(given - left, n * found[0][f"{text}/True/got/100"], rtol=0, atol=2e-3)


def test_counted_bytes_are_handed_over_and_written(done):
    n, length = done.ranks, 1 << 20
    found, measured = done.everywhere("counting"), 0
    for rank in range(n):
        plain = found[rank]["float32"][0]
        for text in FORMATS:
            counted, handed, written, ring, ratio = found[rank][text]
            assert counted == handed
            assert ratio == ring / counted
            assert ring == 8 * (n - 1) / n * length
            if plain > 0:  # /proc says what went into sockets: headers on top, and PyTorch's ring as the formula has it
                assert counted <= written < 1.01 * counted + 4096
                assert ring <= plain < 1.01 * ring
                measured += 1
    assert measured == n * len(FORMATS) or not Path("/proc/self/io").exists()


def test_the_ratio_that_is_asked_for(done):
    ratios = {text: done.found("counting", 0)[text][4] for text in FORMATS}
    assert ratios["dynamic8,block=64"] == pytest.approx(4 / (1 + 4 / 64), rel=1e-3)
    for text in ("dynamic8,block=256", "dynamic8,block=256,max=pow2", "dynamic8", "static8", "linear8,block=256"):
        assert ratios[text] >= 3.9, text


def test_what_has_no_code_is_one_error_on_every_rank(done):
    everywhere = done.everywhere("refusals")
    for rank, found in enumerate(everywhere):
        for text in ("dynamic8,block=256", "static8"):
            kind, words = found[f"raise/{text}"]
            assert kind == "InvalidDataError"
            why = (
                "not finite: 1 NaN and 0 infinite in parameter 0, of shape [2, 300]; "
                "1 NaN and 1 infinite in parameter 1, of shape [400]"
                if rank == 1
                else "its gradients cannot be encoded; its own error says why"
            )
            assert words == (
                f"gradient exchange: 1 problem\n  bucket 3, rank 1: {why}\n"
                "    do: look for the step that made them, or use nonfinite='nan' with a GradScaler"
            )
            assert np.isnan(found[f"nan/{text}"]).all()
            assert found[f"nan/{text}"].shape == (1000,)
            assert found[f"after/{text}"].all()
        kind, words = found["sum"]
        assert kind == "InvalidDataError"
        assert "bucket 0, rank 0: the mean of its shard is beyond what the format can hold" in words
        assert words.count("bucket 0, rank") == done.ranks
        assert f"rank {rank}: float32 has no power of two above its maximum" in str(found["power"])
        assert f"rank {rank}: not finite: 0 NaN and 8 infinite in parameter 0, of shape [8]" in str(found["wide"])


def test_types_that_are_none_and_options_that_differ(done):
    for found in done.everywhere("refusals"):
        assert found["complex"][0] == "InvalidDataError"
        assert "bucket 0: gradients of type complex64\n    do: they may be float16, bfloat16, float32, float64" in str(
            found["complex"][1]
        )
        assert tuple(found["other"]) == (
            "OptionError",
            "gradient exchange: 1 problem\n  rank 1: exchanges linear8, nonfinite=raise, "
            "rank 0 dynamic8, nonfinite=raise\n    do: use the same options on all",
        )
        assert "bucket: 1000 values for parameters of 600" in str(found["parts"][1])


def test_other_widths_of_gradients(done):
    """The mean of the rounded gradients, rounded once to the gradients' type."""
    found = done.everywhere("types")
    for name, bits in (("float16", 10), ("bfloat16", 7), ("float64", 23)):
        inputs = [f[f"{name}/given"].astype(np.float32) for f in found]
        wanted = simulated("dynamic8,block=256", inputs, None).astype(np.float64)
        for f in found:
            got = f[f"{name}/got"]
            assert np.array_equal(got, found[0][f"{name}/got"])
            near = np.abs(got - wanted) <= np.maximum(np.abs(wanted) * 2.0 ** -(bits + 1), 2.0**-25)
            assert near.all()
            assert len(got) == 3000
    assert all(np.array_equal(f["top"], np.full(64 * done.ranks, 65504, dtype=np.float16)) for f in found)


def test_groups_and_a_rank_alone(done):
    found = done.everywhere("group")
    for rank, f in enumerate(found):
        assert same_bits(f["alone"], gradients(5, rank, 0, 3000))
        assert f["alone/sent"].tolist() == [0, 3000, 1]
    wanted = simulated("dynamic8,block=256", [gradients(5, rank, 0, 3000) for rank in (0, 1)], None)
    assert all(same_bits(f["pair"], wanted) for f in found[:2])
    assert all("pair" not in f for f in found[2:])


def test_training_under_ddp(done):
    """Every bucket of every step as simulated; residuals stay with their parameters when buckets are sorted anew."""
    found, n = done.everywhere("trained"), done.ranks
    layouts = set()
    for keep in (False, True):
        kept: dict[int, list[np.ndarray]] = {}
        for step in range(5):
            number, buckets = 0, []
            while f"{keep}/{step}/{number}/ids" in found[0]:
                name = f"{keep}/{step}/{number}"
                index, *ids = found[0][f"{name}/ids"].tolist()
                assert index == number
                buckets.append(tuple(ids))
                inputs = [f[f"{name}/before"] for f in found]
                residuals = None
                if keep:
                    sizes = np.cumsum([len(found[0][f"residual/{i}"]) for i in ids])[:-1]
                    zeros = [[np.zeros(len(found[0][f"residual/{i}"]), np.float32) for i in ids] for _ in range(n)]
                    residuals = [
                        np.concatenate([kept[i][r] if i in kept else zeros[r][k] for k, i in enumerate(ids)])
                        for r in range(n)
                    ]
                wanted = simulated("dynamic8,block=64", inputs, residuals)
                assert all(same_bits(f[f"{name}/after"], wanted) for f in found), name
                if residuals is not None:
                    parts = [np.split(values, sizes) for values in residuals]
                    kept |= {i: [parts[r][k] for r in range(n)] for k, i in enumerate(ids)}
                number += 1
            assert sorted(i for bucket in buckets for i in bucket) == list(range(10)), "every parameter once"
            layouts.add(tuple(buckets))
        assert all(same_bits(f[f"{keep}/weights"], found[0][f"{keep}/weights"]) for f in found)
        if keep:
            for r, f in enumerate(found):
                assert all(same_bits(f[f"residual/{i}"], kept[i][r]) for i in range(10))
    assert len(layouts) > 1, "DDP sorts its buckets anew after the first step"
    assert max(map(len, layouts)) > 3, "several buckets are under way at once"


def test_settings_of_ddp(done):
    found = done.everywhere("settings")
    assert [f["steps"][0] for f in found] == [2 + rank for rank in range(done.ranks)]
    for number in (0, 1):
        assert not np.array_equal(found[0][f"weights/{number}"], found[0][f"first/{number}"])
        assert all(same_bits(f[f"weights/{number}"], found[0][f"weights/{number}"]) for f in found)


def test_nan_of_a_backward_pass_comes_out_of_it_on_every_rank(done):
    for rank in range(done.ranks):
        kind, words = done.found("spoilt", rank)["error"]
        assert kind == "InvalidDataError"
        assert re.search(r"bucket \d+, rank 1: ", words)
        assert ("NaN and 0 infinite in parameter" in words) == (rank == 1)


def test_a_rank_that_dies_is_torchs_error_on_the_others(done):
    for rank in set(range(done.ranks)) - {1}:
        found = done.found(LAST, rank)
        kind, words = found["error"]
        assert kind == "RuntimeError", words
        assert re.search("clos|reset|pipe|timed? ?out", words, re.IGNORECASE), words
        assert found["seconds"][0] < 25


@pytest.mark.slow
def test_a_rank_that_hangs_is_torchs_error_after_its_timeout(tmp_path):
    there = Ranks(tmp_path, 2, ("sleep",))
    there.wait(100, [0])
    found = there.found("sleep", 0)
    kind, words = found["error"]
    assert kind == "RuntimeError", words
    assert re.search("timed? ?out", words, re.IGNORECASE), words
    assert 4 < found["seconds"][0] < 20
