"""Every input that the fuzzer started from or tripped over: only `InputError` comes out, ever after."""

from pathlib import Path

import pytest

from .targets import CORPUS, TARGETS

KEPT = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_is_read_or_refused(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_small_and_starts_with_what_can_be_read(name: str) -> None:
    files = [path for path in KEPT if path.parent.name == name]
    assert len(files) >= 2
    assert all(path.stat().st_size < 2048 for path in files)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_cut_or_has_a_flipped_bit_is_read_or_refused(name: str) -> None:
    for path in KEPT:
        if path.parent.name == name:
            content = path.read_bytes()
            for at in range(0, len(content), len(content) // 12 + 1):
                TARGETS[name](content[:at])
                TARGETS[name](content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
