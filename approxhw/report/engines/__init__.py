"""The pages of engines, of floating-point arrays and of integer ones, and the picture of the shifts that sums need."""
