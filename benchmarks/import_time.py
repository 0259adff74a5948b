"""Time ``import approxhw`` in new processes, beside what Python and NumPy cost alone; target 0.3 s."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "import_time.md"
ROUNDS = 9
CASES = {
    "python -c pass (for comparison)": "pass",
    "import numpy (for comparison)": "import numpy",
    "import approxhw": "import approxhw",
    "import approxhw.report": "import approxhw.report",
}


def measure() -> dict[str, float]:
    """Return the best wall time of each case in seconds; cases take turns, so that a busy moment hits all of them."""
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(ROUNDS):
        for name, code in CASES.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def main() -> None:
    """Measure, print, and write the result."""
    lines = [
        "# Import time\n",
        "    python benchmarks/import_time.py\n",
        f"Wall time of a new process, best of {ROUNDS}, cases taking turns. Target for `import approxhw`: 0.3 s.\n",
        "| case | seconds |\n|---|---|",
        *(f"| {name} | {seconds:.3f} |" for name, seconds in measure().items()),
    ]
    text = "\n".join(lines) + "\n"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
