"""``approxhw simulate`` for an integer engine: a real layer of the model streams through it."""

from __future__ import annotations

from approxhw.cli.parameters.kinds import CommandKind
from approxhw.cli.targets.matrix_engine.simulate import StreamOptions, run

KIND = CommandKind("integer-engine", "Integer engines", StreamOptions, run, is_for="is for engines")
