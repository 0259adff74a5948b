"""External programs: found by feature, run with a time limit, and ended with whoever started them."""

from .finding import cache_folder, find_ccache, find_icarus, find_verilator, find_yosys
from .limits import deadline, time_left
from .running import TAIL_LINES, Finished, Tool, run_tool, started
from .threads import tool_threads

__all__ = [
    "TAIL_LINES",
    "Finished",
    "Tool",
    "cache_folder",
    "deadline",
    "find_ccache",
    "find_icarus",
    "find_verilator",
    "find_yosys",
    "run_tool",
    "started",
    "time_left",
    "tool_threads",
]
