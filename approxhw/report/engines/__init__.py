"""Pages of engines: floating-point and integer ones, and the shifts that sums need."""
