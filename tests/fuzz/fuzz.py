"""Coverage-guided fuzzing of what reads a stranger's bytes, by atheris; `make fuzz` runs it.

    python tests/fuzz/fuzz.py images|films|checkpoints FOLDER [libFuzzer's options]

New inputs go to FOLDER, and one that ends in anything but an `InputError` is kept there as crash-…: put it into
tests/fuzz/corpus, where `tests/fuzz/test_corpus.py` replays it ever after.
"""

import sys
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("fuzz: atheris is not installed, or not to be had for this Python: pip install '.[fuzz]'")

with atheris.instrument_imports(
    include=["anasyn.data.decoding", "anasyn.data.frames", "anasyn.run.checkpoint", "PIL", "safetensors"]
):
    from targets import CORPUS, TARGETS


def main(name: str, folder: Path, *options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [f"-artifact_prefix={folder}/", "-max_len=4096", "-timeout=20", "-rss_limit_mb=4096", *options]
    atheris.Setup([sys.argv[0], str(folder), str(CORPUS / name), *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
