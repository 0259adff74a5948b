"""Samples of what streams through a layer: as many as asked, each as likely, the same in every run, in little memory."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import FORM_ROWS, many_forms

from approxhw.common.errors import PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.integer_layers import integer_nodes
from approxhw.ir.tensor.layer_samples import _Drawn, layer_samples
from approxhw.ir.tensor.run import walk_tensors


def test_few_are_all_of_them_in_their_order():
    kept, columns = _Drawn(100), np.arange(60)[None, :]
    ranks, chosen = kept.draw(60)
    assert chosen.tolist() == list(range(60))
    kept.add(ranks, columns[:, chosen])
    assert np.array_equal(kept.columns(), columns)


def test_every_column_is_as_likely_whenever_it_comes():
    """Three hundred runs of ten parts: how often each part is met is what chance makes of it; no more is held than twice."""
    met = np.zeros(10)
    for run in range(300):
        kept = _Drawn(40, came=1000 * run)
        for part in range(10):
            ranks, chosen = kept.draw(50)
            kept.add(ranks, np.full((2, len(chosen)), part))
            assert sum(map(len, kept.ranks)) <= 80
        found = kept.columns()
        assert found.shape == (2, 40)
        met += np.bincount(found[0], minlength=10)
    assert met.sum() == 300 * 40
    assert np.abs(met / met.sum() - 0.1).max() < 0.02


def test_samples_are_columns_that_streamed_of_every_form_and_the_same_again():
    opened = open_model(many_forms(), {"x": FORM_ROWS[:16].shape}, integers=True)

    def observe(graph, seen):
        for part in np.split(FORM_ROWS, 4):  # batch by batch
            walk_tensors(graph, {"x": part}, opened.host, None, seen)

    graph, _ = run_passes(opened.graph, "quantize-model,integer-products", PassContext(observe=observe))
    values = {}
    observe(graph, lambda node, value: values.setdefault(node.name, []).append(value))
    found = layer_samples(graph, observe, "test", 50)
    several, left, each, last = (node.name for node in integer_nodes(graph))
    assert [part.shape for part in found[several]] == [(12, 50), (12, 50)]  # a matrix each
    assert [part.shape for part in found[left]] == [(10, 50)]
    assert [part.shape for part in found[each]] == [(9, 50), (9, 50)]  # a filter each
    assert [part.shape for part in found[last]] == [(96, 50)]
    x = np.concatenate(values[graph[several].inputs[0]])
    for number, part in enumerate(found[several]):
        rows = {row.tobytes() for row in x[:, number].reshape(-1, 12)}
        assert all(np.ascontiguousarray(column).tobytes() in rows for column in part.T)
    b = np.concatenate(values[graph[left].inputs[1]])
    columns = {column.tobytes() for column in np.moveaxis(b, -2, -1).reshape(-1, 10)}
    assert all(np.ascontiguousarray(column).tobytes() in columns for column in found[left][0].T)
    again = layer_samples(graph, observe, "test", 50)
    assert all(np.array_equal(*pair) for name in found for pair in zip(found[name], again[name]))


def test_no_rows_are_an_error():
    opened = open_model(many_forms(), {"x": FORM_ROWS[:16].shape}, integers=True)
    with pytest.raises(PassError, match="it looks at the codes that rows send through a layer, and there are none"):
        layer_samples(opened.graph, None, "test", 50)
