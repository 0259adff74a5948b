"""Random networks with training rows and progress: what the pass that trains gets of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from random_networks import random_convolutions, random_encoder

from approxhw.engine.operands import Feeds, observe_rows
from approxhw.engine.reshaping import reshaping_on
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import checked_feeds, run_tensors

MAKERS = {"convolutions": random_convolutions, "encoder": random_encoder}


class Square:
    """An array of 2 × 2."""

    rows = columns = 2
    vectors = 8


class Taught:
    """A network opened from *proto*, *count* rows drawn for its one input, and what passes get of them."""

    def __init__(self, proto, count=400, labels=None, fixed=None):
        dims = [each.dim_value for each in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
        self.model = open_model(proto, {"x": (fixed or 2, *dims)})
        self.x = np.random.default_rng(7).standard_normal((count, *dims)).astype(np.float32)
        feeds = Feeds({"x": self.x[:64]}, fixed=fixed)
        self.context = PassContext(
            observe=partial(observe_rows, feeds, self.model.host),
            reshaping=reshaping_on(self.model, Square()),
            training=({"x": self.x}, labels),
        )

    def made(self, passes, **changed):
        return run_passes(self.model.graph, passes, replace(self.context, **changed), check=False)

    def run(self, graph, count=64):
        feeds = checked_feeds(graph, {"x": self.x[:count]})
        return run_tensors(graph, feeds, self.model.host, None)


@pytest.fixture(scope="session")
def network():
    known = {}

    def make(kind, seed):
        if (kind, seed) not in known:
            known[kind, seed] = Taught(MAKERS[kind](seed))
        return known[kind, seed]

    return make
