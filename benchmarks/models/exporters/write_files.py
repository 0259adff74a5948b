"""``python write_files.py ENVIRONMENT FOLDER``: write the files of all cases of an environment, which it runs in."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

from all_cases import CASES
from exporter_cases import quiet


def written(environment: str, folder: Path, only: str = "") -> None:
    """Write ``NUMBER.onnx`` for each case whose title holds *only*, and ``made.json``: versions, and who failed with what."""
    failed: dict[int, str] = {}
    versions: dict[str, str] = {}
    for number, case in enumerate(CASES):
        if case.environment != environment or only not in case.title:
            continue
        for package in case.packages:
            versions[package] = importlib.metadata.version(package)
        try:
            with quiet():
                case.make(folder / f"{number}.onnx")
        except Exception as error:  # exporters raise what they like; the table tells it
            failed[number] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        print(case.title, failed.get(number, "written"), file=sys.stderr, flush=True)
    (folder / "made.json").write_text(json.dumps({"versions": versions, "failed": failed}), encoding="utf-8")


if __name__ == "__main__":
    written(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
