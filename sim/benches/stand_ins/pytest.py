"""Stands in for pytest, which cocotb imports for its users' assertions: to load it takes longer than most simulations.

cocotb asks whether there are ``RaisesExc`` and ``RaisesGroup`` (there are not), and for the one class below, which
nothing raises: a mismatch is a result of our benches.
"""

from __future__ import annotations


class raises:  # noqa: N801, as pytest calls it
    """What ``pytest.raises`` is asked for."""

    class Exception(BaseException):
        """What a block that did not raise would raise."""
