"""One rank of the tests of gradient exchange: runs the scenarios it is told, each of which leaves arrays in an .npz file.

PYTHONPATH=tests/helpers python exchange_worker.py FOLDER RANK RANKS SCENARIO…
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from gradient_inputs import FORMATS, LENGTHS, STEPS, gradients
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from approxhw.common.errors import ApproxhwError
from approxhw.distributed.gradients import CompressedExchange, compressed_exchange


def bucket(values: np.ndarray | torch.Tensor, parameters: list[torch.Tensor] | None = None, index=0, last=True):
    """Return what DDP hands to a hook."""
    buffer = torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else values
    known = [torch.empty(buffer.numel())] if parameters is None else parameters
    return SimpleNamespace(
        buffer=lambda: buffer, parameters=lambda: known, index=lambda: index, is_last=lambda: last, known=known
    )


def exchange(state, *arguments, **options) -> np.ndarray:
    """Exchange one bucket and return what comes back."""
    return compressed_exchange(state, bucket(*arguments, **options)).wait().numpy()


def formats(rank, ranks):
    """All codes, lengths and both kinds of feedback, several steps each."""
    found = {}
    for seed, text in enumerate(FORMATS):
        for feedback in (False, True):
            state = CompressedExchange(text, feedback)
            for length in LENGTHS:
                parameters = [torch.empty(length)]
                for step in range(STEPS):
                    out = exchange(state, gradients(seed, rank, step, length), parameters)
                    found[f"{text}/{feedback}/{length}/{step}"] = out
                kept = state.residual(parameters[0])
                assert (kept is not None) == feedback
                if kept is not None:
                    found[f"{text}/residual/{length}"] = kept
            found[f"{text}/{feedback}/sent"] = np.array([state.bytes_sent, state.elements, state.ring_bytes])
    return found


def exact(rank, ranks):
    """Values that are codes, alike on all ranks, and held by one rank alone."""
    found = {}
    for text in FORMATS:
        state = CompressedExchange(text, error_feedback=False)
        table = state.format.tables.values
        parts = np.resize(table, (5, 63))  # and the largest of all in each: it is then every block's maximum
        values = np.tile(np.column_stack([parts, np.full(5, table.max())]).ravel(), 4 * ranks)
        values *= np.float32(1 if state.format.maximum == "fixed" else 2.0**-9)
        found[f"{text}/given"] = values
        found[f"{text}/alike"] = exchange(state, values)
        found[f"{text}/alone"] = exchange(state, values if rank == 1 else np.zeros_like(values))
    return found


def feedback(rank, ranks, length=2048, steps=100):
    """Long sums of exchanged gradients, with and without what codes lost."""
    found = {}
    for text in ("dynamic8,block=256", "linear8,block=256", "static8"):
        for keep in (False, True):
            state, parameters = CompressedExchange(text, keep), [torch.empty(length)]
            given, got = np.zeros(length), np.zeros(length)
            drift = np.random.default_rng([7, rank]).normal(0, 0.05, length)
            for step in range(steps):
                values = (drift + np.random.default_rng([8, rank, step]).standard_normal(length)).astype(np.float32)
                given += values
                got += exchange(state, values, parameters)
                if step + 1 in (steps // 10, steps):
                    found |= {
                        f"{text}/{keep}/given/{step + 1}": given.copy(),
                        f"{text}/{keep}/got/{step + 1}": got.copy(),
                    }
            if keep:
                found[f"{text}/residual"] = state.residual(parameters[0])
    return found


def counting(rank, ranks):
    """Bytes: as counted, as handed to collectives, as this process really wrote."""
    found, handed = {}, [0]
    scatter, gather = distributed.all_to_all_single, distributed.all_gather_single

    def counted_scatter(out, sent, out_sizes, sizes, *rest, **options):
        assert sent.dtype == torch.uint8
        handed[0] += sum(size for r, size in enumerate(sizes) if r != rank)
        assert sum(sizes) == sent.numel()
        return scatter(out, sent, out_sizes, sizes, *rest, **options)

    def counted_gather(out, sent, *rest, **options):
        assert sent.dtype == torch.uint8
        handed[0] += (ranks - 1) * sent.numel()
        return gather(out, sent, *rest, **options)

    distributed.all_to_all_single, distributed.all_gather_single = counted_scatter, counted_gather
    length = 1 << 20
    try:
        for text in FORMATS:
            state, handed[0] = CompressedExchange(text), 0
            values = gradients(1, rank, 0, length)
            distributed.barrier()
            before = written()
            exchange(state, values)
            found[text] = np.array([state.bytes_sent, handed[0], written() - before, state.ring_bytes, state.ratio])
    finally:
        distributed.all_to_all_single, distributed.all_gather_single = scatter, gather
    plain = torch.ones(length)
    distributed.barrier()
    before = written()
    distributed.all_reduce(plain)
    found["float32"] = np.array([written() - before])
    return found


def written() -> int:
    """Return the bytes that this process has written to files and sockets; −1 where the system does not say."""
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return -1
    return int(dict(line.split(": ") for line in text.splitlines())["wchar"])


def said(error: BaseException) -> np.ndarray:
    """Return the class and the text of *error*."""
    return np.array([type(error).__name__, str(error)])


def attempt(work) -> np.ndarray:
    """Return what *work* raises."""
    try:
        return np.array(["nothing", str(work())])
    except (ApproxhwError, RuntimeError) as error:
        return said(error)


def refusals(rank, ranks):
    """What has no code, on one rank, and what becomes of it on all."""
    clean = gradients(3, rank, 0, 1000)
    spoilt = clean.copy()
    spoilt[[5, 700]], spoilt[701] = np.nan, -np.inf
    mine = spoilt if rank == 1 else clean
    parts = [torch.empty(2, 300), torch.empty(400)]
    found = {}
    for text in ("dynamic8,block=256", "static8"):
        found[f"raise/{text}"] = attempt(lambda text=text: exchange(CompressedExchange(text), mine, parts, index=3))
        state = CompressedExchange(text, nonfinite="nan")
        first = exchange(state, clean, parts)
        kept = [state.residual(part).copy() for part in parts]
        found[f"nan/{text}"] = exchange(state, mine, parts)
        assert all(np.array_equal(a, state.residual(b)) for a, b in zip(kept, parts))
        fresh = CompressedExchange(text, nonfinite="nan")
        assert np.array_equal(first, exchange(fresh, clean, parts))
        found[f"after/{text}"] = np.array(
            [np.array_equal(exchange(state, clean, parts), exchange(fresh, clean, parts))]
        )
    large = np.full(8 * ranks, 3e38, dtype=np.float32)
    found["sum"] = attempt(lambda: exchange(CompressedExchange(), large))
    found["power"] = attempt(lambda: exchange(CompressedExchange("dynamic8,block=64,max=pow2"), large))
    found["complex"] = attempt(lambda: exchange(CompressedExchange(), torch.zeros(8, dtype=torch.complex64)))
    found["wide"] = attempt(lambda: exchange(CompressedExchange(), torch.full((8,), 1e39, dtype=torch.float64)))
    found["other"] = attempt(lambda: exchange(CompressedExchange("linear8" if rank == 1 else "dynamic8"), clean))
    found["parts"] = attempt(lambda: exchange(CompressedExchange(), clean, parts[:1]))
    return found


def types(rank, ranks):
    """Gradients of other widths."""
    found = {}
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        values = torch.from_numpy(gradients(4, rank, 0, 3000)).to(dtype)
        out = compressed_exchange(CompressedExchange(error_feedback=False), bucket(values.clone())).wait()
        assert out.dtype == dtype
        name = str(dtype).removeprefix("torch.")
        found |= {f"{name}/given": values.to(torch.float64).numpy(), f"{name}/got": out.to(torch.float64).numpy()}
    top = torch.full((64 * ranks,), 65504.0, dtype=torch.float16)
    found["top"] = compressed_exchange(CompressedExchange("dynamic8,block=64,max=pow2"), bucket(top)).wait().numpy()
    return found


def group(rank, ranks):
    """Groups: the first two ranks by themselves, and one rank alone."""
    pair, single = distributed.new_group([0, 1]), [distributed.new_group([r]) for r in range(ranks)][rank]
    alone = CompressedExchange(group=single)
    values = gradients(5, rank, 0, 3000)
    found = {"alone": exchange(alone, values), "alone/sent": np.array([alone.bytes_sent, alone.elements, alone.ratio])}
    if rank < 2:
        found["pair"] = exchange(CompressedExchange(error_feedback=False, group=pair), values)
    return found


class Network(torch.nn.Module):
    """Layers of several sizes, used in another order than they are defined in, so that DDP sorts its buckets anew."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((40, 10), (50, 90), (90, 70), (70, 70), (70, 40))
        self.last, *layers = (torch.nn.Linear(*size) for size in sizes)
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x, skip=-1):
        for number, layer in enumerate(self.layers):
            x = x if number == skip else torch.relu(layer(x))  # layer 2 has as many inputs as outputs
        return self.last(x)


def trained(rank, ranks):
    """Steps of real training; the buckets before and after every exchange are kept."""
    found = {}
    for keep in (False, True):
        torch.manual_seed(1)
        model = DistributedDataParallel(Network(), bucket_cap_mb=0.004, gradient_as_bucket_view=keep)
        parameters = list(model.parameters())
        state, log = CompressedExchange("dynamic8,block=64", keep), []

        def hook(state, bucket, log=log, parameters=parameters):
            index, size = bucket.index(), bucket.buffer().numel()
            ids = [next(i for i, p in enumerate(parameters) if p is q) for q in bucket.parameters()]
            log.append((index, size, ids, bucket.buffer().clone(), compressed_exchange(state, bucket)))
            return log[-1][-1]

        model.register_comm_hook(state, hook)
        descent = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(5):
            rows = torch.from_numpy(gradients(6, rank, step, 50 * 16).reshape(16, 50)).clamp(-3, 3)
            descent.zero_grad()
            model(rows).square().mean().backward()
            for number, (index, size, ids, before, after) in enumerate(log):
                name = f"{keep}/{step}/{number}"
                assert after.wait().numel() == size
                found |= {f"{name}/ids": np.array([index, *ids]), f"{name}/before": before.numpy()}
                found[f"{name}/after"] = after.wait().clone().numpy()
            log.clear()
            descent.step()
        weights = [p.detach().numpy().ravel() for p in parameters]
        found[f"{keep}/weights"] = np.concatenate(weights)
        if keep:
            found |= {f"residual/{i}": state.residual(p) for i, p in enumerate(parameters)}
            assert state.bytes_sent > 0
    return found


def settings(rank, ranks):
    """Settings of DDP that change which buckets come when: layers that one rank leaves out, no_sync, join."""
    found = {}
    for number, options in enumerate(({"find_unused_parameters": True}, {"static_graph": True})):
        torch.manual_seed(1)
        model, state = DistributedDataParallel(Network(), bucket_cap_mb=0.004, **options), CompressedExchange()
        model.register_comm_hook(state, compressed_exchange)
        descent = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(6):
            rows = torch.from_numpy(gradients(6, rank, step, 50 * 16).reshape(16, 50)).clamp(-3, 3)
            skip = 2 if number == 0 and step % ranks == rank else -1
            descent.zero_grad()
            if step == 3:
                with model.no_sync():
                    model(rows, skip).square().mean().backward()
            model(rows, skip).square().mean().backward()
            descent.step()
            assert state._under_way == []
        found[f"weights/{number}"] = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
        found[f"first/{number}"] = np.concatenate([p.detach().numpy().ravel() for p in Network().parameters()])
    model = DistributedDataParallel(torch.nn.Linear(50, 3))
    model.register_comm_hook(CompressedExchange(error_feedback=False), compressed_exchange)
    steps = 2 + rank  # the ranks that are through answer for the others
    with model.join():
        for _ in range(steps):
            model(torch.ones(2, 50)).sum().backward()
    return found | {"steps": np.array([steps])}


def spoilt(rank, ranks):
    """NaN out of a real backward pass."""
    torch.manual_seed(1)
    model = DistributedDataParallel(Network(), bucket_cap_mb=0.004)
    model.register_comm_hook(CompressedExchange(), compressed_exchange)
    model(torch.ones(4, 50)).sum().backward()
    return {"error": attempt(lambda: model(torch.ones(4, 50) * (np.nan if rank == 1 else 1)).sum().backward())}


def death(rank, ranks, stop=lambda: os._exit(7), timeout=20):
    """Rank 1 goes away in the middle of the second step's exchange; the others wait *timeout* seconds at most."""
    torch.manual_seed(1)
    everybody = distributed.new_group(timeout=datetime.timedelta(seconds=timeout))
    model, seen = DistributedDataParallel(Network(), bucket_cap_mb=0.004, process_group=everybody), [0]

    def hook(state, bucket):
        seen[0] += 1
        if rank == 1 and seen[0] == 3:
            stop()
        return compressed_exchange(state, bucket)

    model.register_comm_hook(CompressedExchange(group=everybody), hook)
    model(torch.ones(4, 50)).sum().backward()
    started = time.monotonic()
    text = attempt(lambda: model(torch.ones(4, 50)).sum().backward())
    return {"error": text, "seconds": np.array([time.monotonic() - started])}


def sleep(rank, ranks):
    """Rank 1 is there, but says nothing any more."""
    return death(rank, ranks, lambda: os.kill(os.getpid(), signal.SIGSTOP), timeout=6)


SCENARIOS = {
    work.__name__: work
    for work in (formats, exact, feedback, counting, refusals, types, group, trained, settings, spoilt, death, sleep)
}


def main() -> None:
    """Run the scenarios one after the other."""
    folder, rank, ranks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=60),
    )
    for name in sys.argv[4:]:
        np.savez(folder / f"{name}.{rank}.npz", **SCENARIOS[name](rank, ranks))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
