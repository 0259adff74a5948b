"""Statistics that several rooms ask for: of order, of one answer for all, and of what approximating does to classes of rows."""

from .majority import majority_share, no_better, no_better_than_mean
from .ranks import isotonic, rank_correlation

__all__ = ["isotonic", "majority_share", "no_better", "no_better_than_mean", "rank_correlation"]
