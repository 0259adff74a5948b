"""What nothing reads is not built: cells, blocks, sums of adders whose carry alone counts."""

from approxhw.backends.bespoke.compression import Columns, compress
from approxhw.backends.cells.blocks import Block, Lane, Whole, Word, prune


def adder(name, width):
    """Return a block that adds words a and b, and the word that leaves."""
    block = Block(name)
    columns = Columns(width + 1)
    for word in ("a", "b"):
        columns.add(Word(0, (1 << width) - 1, tuple((word, i) for i in range(width))), 0, 1)
    cells, bits = compress(columns, prefix=":")
    block.cells.extend(cells)
    return block, block.leave(f"{name}_y", Word(0, (2 << width) - 2, bits))


def test_a_block_that_nothing_reads_is_dropped_with_all_it_reads():
    first, word = adder("first", 3)
    second = Block("second")
    columns = Columns(5)
    columns.add(word, 0, 1)
    columns.add(word, 1, 1)
    cells, bits = compress(columns, prefix=":")
    second.cells.extend(cells)
    second.leave("second_y", Word(0, 42, bits))
    assert [b.name for b in prune([first, second], [("second_y", 4)])[0]] == ["first", "second"]
    kept, read = prune([first, second], [("first_y", 0)])
    assert [b.name for b in kept] == ["first"]
    assert read == {"first_y": (0,), "a": (0,), "b": (0,)}
    assert prune([first, second], [0, 1]) == ([], {})


def test_only_carries_are_built_where_sums_are_not_read(cells):
    block, _ = adder("add", 4)
    (kept,), read = prune([block], [("add_y", 4)])
    assert [cell.template for cell in kept.cells] == ["ripple_carry", "ripple_adder"]
    assert [len(dict(cell.inputs)["a"]) for cell in kept.cells] == [4, 1]
    assert read["a"] == (0, 1, 2, 3)
    for a in range(16):
        for b in range(16):
            given = {("a", i): a >> i & 1 for i in range(4)} | {("b", i): b >> i & 1 for i in range(4)}
            values = cells.evaluated(kept.cells, given)
            assert cells.number([kept.outputs["add_y"][4]], values) == (a + b) >> 4


def test_an_adder_with_gaps_is_cut_into_runs_and_stays_right(cells):
    block, _ = adder("add", 4)
    for wanted in ([1], [0, 3], [1, 2, 4], [0, 1, 2, 3], [2, 4]):
        (kept,), _ = prune([block], [("add_y", i) for i in wanted])
        assert max(len(dict(cell.outputs).get("sum", ())) for cell in kept.cells) <= len(wanted)
        for a in range(16):
            for b in range(16):
                given = {("a", i): a >> i & 1 for i in range(4)} | {("b", i): b >> i & 1 for i in range(4)}
                values = cells.evaluated(kept.cells, given)
                for i in wanted:
                    assert cells.number([kept.outputs["add_y"][i]], values) == (a + b) >> i & 1


def test_columns_above_the_highest_bit_that_is_read_are_not_built():
    block, _ = adder("add", 6)
    (kept,), read = prune([block], [("add_y", 1)])
    assert read["a"] == (0, 1)
    assert sum(len(dict(cell.inputs)["a"]) for cell in kept.cells) == 2


def test_a_lane_with_an_unread_output_gets_a_group_of_its_own():
    lanes = [
        Lane("half_adders", "g", (("a", ("x", i)), ("b", ("y", i))), (("sum", ("s", i)), ("carry", ("c", i))))
        for i in range(3)
    ]
    block = Block("b", cells=lanes, outputs={"out": (("s", 0), ("s", 1), ("c", 1), ("c", 2))})
    (kept,), _ = prune([block], [("out", i) for i in range(4)])
    assert [cell.group for cell in kept.cells] == ["g_no_carry", "g", "g_no_sum"]


def test_what_stays_is_all_read():
    block, _ = adder("add", 5)
    for wanted in range(6):
        (kept,), _ = prune([block], [("add_y", wanted)])
        made = {dot for cell in kept.cells for _, dots in cell.outputs for dot in dots}
        read = {bit for cell in kept.cells if isinstance(cell, Whole) for _, bits in cell.inputs for bit in bits}
        unread = made - read - {kept.outputs["add_y"][wanted]}
        assert all(name.endswith("_carry") for name, _ in unread)  # of the last adder: its template has the port
        assert len(unread) <= 1
