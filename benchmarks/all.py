"""Every question of speed: one table and one JSON file, ``results/all.json``. Run by ``make bench``.

Each file runs in a process of its own, one after the other: langevin, densities, quality, growth, start.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import RESULTS

HERE = Path(__file__).resolve().parent
QUESTIONS = ("langevin", "densities", "quality", "growth", "start")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fast", action="store_true", help="one repetition of the least: does it run at all?")
    options.add_argument("--out", type=Path, default=RESULTS / "all.json")
    arguments = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for question in QUESTIONS:
            print(f"\n{question}", flush=True)
            out = Path(folder, f"{question}.json")
            fast = ["--fast"] if arguments.fast else []
            subprocess.run([sys.executable, HERE / f"{question}.py", "--out", out, *fast], check=True)
            rows += json.loads(out.read_text())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
