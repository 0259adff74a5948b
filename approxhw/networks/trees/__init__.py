"""Learners of small decision trees on integer codes, priced by the comparators that a circuit needs for them."""
