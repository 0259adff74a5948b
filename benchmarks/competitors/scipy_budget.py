"""Forms of layers within a budget as a user of SciPy would choose them: one-hot variables, HiGHS' mixed-integer program."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp


def chosen_by_scipy(costs: list[np.ndarray], loses: list[np.ndarray], budget: float) -> float:
    """Return the least loss: one form of each layer, all together at most *budget*."""
    count = sum(map(len, costs))
    rows = np.zeros((len(costs) + 1, count))
    rows[0] = np.concatenate(costs)
    start = 0
    for place, each in enumerate(costs):
        rows[1 + place, start : start + len(each)] = 1
        start += len(each)
    ones = np.ones(len(costs))
    limits = LinearConstraint(rows, np.append(-np.inf, ones), np.append(budget, ones))
    found = milp(
        np.concatenate(loses),
        constraints=limits,
        integrality=np.ones(count),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-9, "time_limit": 60},
    )
    if found.status != 0:
        raise RuntimeError(found.message)
    return float(found.fun)
