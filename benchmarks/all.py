"""All benchmarks of speed, as one table and one JSON file, ``results/all.json``. Run by ``make bench``.

They run one after the other, each in its own process: langevin, densities, quality, growth, start.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import RESULTS

HERE = Path(__file__).resolve().parent
BENCHMARKS = ("langevin", "densities", "quality", "growth", "start")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fast", action="store_true", help="one repetition of the smallest case, to see that it runs")
    options.add_argument("--out", type=Path, default=RESULTS / "all.json")
    arguments = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for benchmark in BENCHMARKS:
            print(f"\n{benchmark}", flush=True)
            out = Path(folder, f"{benchmark}.json")
            fast = ["--fast"] if arguments.fast else []
            subprocess.run([sys.executable, HERE / f"{benchmark}.py", "--out", out, *fast], check=True)
            rows += json.loads(out.read_text())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
