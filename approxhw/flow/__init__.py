"""From a model to a measured design: compile, simulate, estimate, report."""
