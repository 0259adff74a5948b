"""Random networks opened, and what passes that change shapes get of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from random_networks import random_convolutions, random_encoder

from approxhw.engine.operands import Feeds, observe_rows
from approxhw.engine.reshaping import reshaping_on
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds.tensor.ops import Feed
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.run import run_tensors

MAKERS = {"convolutions": random_convolutions, "encoder": random_encoder}


@dataclass
class Opened:
    """A random network, its rows, and the context of passes."""

    kind: str
    seed: int
    rows: int = 64
    notes: list = field(default_factory=list)

    def __post_init__(self):
        proto = MAKERS[self.kind](self.seed)
        dims = [each.dim_value for each in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
        self.proto = proto
        self.model = open_model(proto, {"x": (2, *dims)})
        rng = np.random.default_rng(self.seed)
        self.x = rng.standard_normal((self.rows, *dims)).astype(np.float32)
        self.context = PassContext(
            observe=partial(observe_rows, Feeds({"x": self.x}), self.model.host),
            reshaping=reshaping_on(self.model, Array()),
        )

    @property
    def whole(self):
        return self.model.apart(self.model.graph)

    def run(self, graph):
        feed = next(node for node in graph.nodes if isinstance(node.op, Feed))
        return run_tensors(graph, {feed.op.title: self.x}, self.model.host, None)["logits"]


@dataclass(frozen=True)
class Array:
    rows: int = 2
    columns: int = 2
    vectors: int = 8


@pytest.fixture(scope="session")
def opened():
    known = {}

    def make(kind, seed):
        if (kind, seed) not in known:
            known[kind, seed] = Opened(kind, seed)
        return known[kind, seed]

    return make
