"""The installed program in a process of its own: its streams, signals, exit status, and what it imports."""

import dataclasses
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anasyn.recipes import RECIPES

from ..commands import PROGRAM, Command, learned, program, refused
from .small import SMALL


def test_it_learns_and_says_so_on_standard_error(cats: Path, tmp_path: Path) -> None:
    done = program("learn", "generator", "--data", cats, *SMALL, cwd=tmp_path)
    assert done.status == 0
    assert done.out == "runs/generator/figures\n"
    lines = done.err.splitlines()
    assert lines[0] == f"generator: 6 images from {cats} into runs/generator"
    names = [field.name for field in dataclasses.fields(RECIPES["generator"].settings) if field.name != "data"]
    settings = {line.split()[0]: line.split()[1:] for line in lines[1 : len(names) + 1]}
    assert list(settings) == names
    assert lines[len(names) + 1] == "  no image is held out to learn sigma from: it stays 0.3"
    assert settings["width"] == ["8"]
    assert settings["batch_size"] == ["6", "follows", "from", "the", "data", "and", "the", "machine"]
    steps = [line for line in lines if "/4  loss " in line]
    assert [line.split("/")[0] for line in steps] == ["1", "4"]
    assert lines.index(steps[0]) > max(k for k, line in enumerate(lines) if line.startswith("  "))
    assert "\x1b" not in done.err
    assert "\r" not in done.err


def test_help_and_version_import_no_torch() -> None:
    script = (
        "import sys\nfrom anasyn.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['learn', 'generator', '--help'], ['data', 'draw', '--help']):\n"
        "    try:\n        main(arguments)\n"
        "    except SystemExit as exit:\n        assert exit.code == 0\n"
        "    assert not {'torch', 'matplotlib'} & set(sys.modules), arguments\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: anasyn") == 3
    assert "\nanasyn 0" in done.stdout


@pytest.mark.parametrize(
    ("recipe", "number", "status"), [("generator", signal.SIGINT, 130), ("descriptor", signal.SIGTERM, 143)]
)
def test_a_signal_saves_the_run(
    recipe: str, number: signal.Signals, status: int, command: Command, cats: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    learn = ["learn", recipe, "--data", cats, "--out", run, *SMALL, "--iterations", 100_000]
    with subprocess.Popen(
        [PROGRAM, *map(str, learn)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 1000):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == ""
    _, metrics = learned(run)
    assert err.splitlines()[-1].startswith(f"stopped and saved at iteration {len(metrics)};")
    assert "Traceback" not in err
    assert command("sample", run, "--num", 1).status == 0


def test_wrong_input_is_one_line_and_status_2() -> None:
    refused(program("learn", "generator", "--sigma", "-1"), "sigma: expected", "-1")


def test_a_full_disk_fails_in_one_line(cats: Path, tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = program("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL, preexec_fn=little_room)
    assert done.status == 1, done
    assert done.out == ""
    assert done.err.splitlines()[-1].startswith("anasyn: ")
    assert "Traceback" not in done.err


def test_a_reader_that_has_had_enough() -> None:
    with subprocess.Popen([PROGRAM, "data", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
