"""What is published: a source distribution, the wheel built from it, and the wheel installed away from the repository.

The wheel goes into an environment of its own. Beside it that environment sees the distributions that the wheel's
metadata requires, linked from the running environment, and nothing else: neither the sources nor the tests' own tools.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

import anasyn

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("src", "tests", "docs", "benchmarks", "pyproject.toml", "MANIFEST.in", "Makefile", "constraints.txt")
PROSE = ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")

USER_PROGRAM = """\
import anasyn
kernel: anasyn.mcmc.Kernel = anasyn.HMC(0.3, num_leapfrog_steps=5)
anasyn.HMC(0.3, num_leapfrog_steps="five")
"""
# Only anasyn's own types are in question; reading torch's takes longer than all the rest of this file.
MYPY_SETTINGS = "[mypy]\nstrict = True\nfollow_imports = skip\n[mypy-anasyn.*]\nfollow_imports = silent\n"


class Package(NamedTuple):
    """The two distributions, and an environment in which the wheel is installed."""

    sdist: Path
    wheel: Path
    environment: Path

    def run(self, command: str, *arguments: object, cwd: Path) -> str:
        """What a command of the environment prints."""
        return run(self.environment / "bin" / command, *arguments, cwd=cwd)


def run(*command: object, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    clean["OMP_NUM_THREADS"] = "1"  # the tensors are small, and the cores are shared
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(root: Path) -> set[str]:
    """The package's files below ``root``, which holds the folder ``anasyn``."""
    files = (path for path in (root / "anasyn").rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {str(path.relative_to(root)) for path in files}


def required(distributions: dict[str, Distribution], requirements: list[str]) -> dict[str, Distribution]:
    """Adds the distributions that these requirements name and those that they require in turn."""
    for requirement in map(Requirement, requirements):
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
        )
        if wanted and requirement.name not in distributions:
            distributions[requirement.name] = distribution(requirement.name)
            required(distributions, distributions[requirement.name].requires or [])
    return distributions


def link(distributions: dict[str, Distribution], folder: Path) -> None:
    """Links what the distributions installed into ``folder``."""
    folder.mkdir()
    for each in distributions.values():
        for top in {file.parts[0] for file in each.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(each.locate_file(top))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("package")
    tree = tmp / "tree"
    tree.mkdir()
    # A copy, because building writes into the tree, and what an earlier build left there would get into the wheel.
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "results")
    for name in (*SOURCE, *PROSE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, tree / name)
    run(sys.executable, "-c", "from setuptools import build_meta; build_meta.build_sdist('../dist')", cwd=tree)
    (sdist,) = (tmp / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp / "unpacked", filter="data")
    (unpacked,) = (tmp / "unpacked").iterdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    local = ("--quiet", "--no-index", "--no-deps")
    run(*pip, "wheel", *local, "--no-build-isolation", "--wheel-dir", tmp / "dist", unpacked, cwd=tmp)
    (wheel,) = (tmp / "dist").glob("*.whl")

    environment = tmp / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp)
    python = environment / "bin" / "python"
    run(*pip, "--python", python, "install", *local, wheel, cwd=tmp)
    (site,) = environment.glob("lib/python*/site-packages")
    (metadata,) = site.glob("anasyn-*.dist-info")
    link(required({}, Distribution.at(metadata).requires or []), tmp / "required")
    (site / "required.pth").write_text(f"{tmp / 'required'}\n")
    return Package(sdist, wheel, environment)


def test_the_wheel_holds_every_file_of_the_package(package):
    with zipfile.ZipFile(package.wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("anasyn/")} == sources(ROOT / "src")
    assert "anasyn/py.typed" in names
    assert f"anasyn-{anasyn.__version__}.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_holds_what_it_takes_to_build_and_to_test(package):
    with tarfile.open(package.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (*SOURCE, *PROSE):
        here = ROOT / name
        files = here.rglob("*") if here.is_dir() else [here]
        wanted = {
            str(file.relative_to(ROOT))
            for file in files
            if file.is_file() and not {"__pycache__", "results"} & set(file.parts) and ".egg-info" not in str(file)
        }
        assert wanted <= names


def test_every_module_of_the_installed_wheel_is_imported_from_there(package, tmp_path):
    """With the required distributions alone: what only an extra brings is imported where it is used.

    Triton comes with PyTorch for GPUs, and the module that needs it is imported where there is one.
    """
    program = (
        "import anasyn, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(anasyn.__path__, 'anasyn.'):\n"
        "    if module.name not in ('anasyn.__main__', 'anasyn.processor.gpu'):\n"
        "        print(importlib.import_module(module.name).__file__)\n"
    )
    files = package.run("python", "-c", program, cwd=tmp_path).split()
    assert files
    assert all(Path(file).is_relative_to(package.environment) for file in files)


def test_the_installed_wheel_runs_the_demonstration_elsewhere(package, tmp_path):
    assert package.run("anasyn", "--version", cwd=tmp_path) == f"anasyn {anasyn.__version__}\n"
    smallest = ("--iterations", 2, "--size", 32, "--width", 16, "--quiet")
    package.run("anasyn", "learn", "drawn-cats", *smallest, cwd=tmp_path)
    assert (tmp_path / "runs/drawn-cats/figures/samples.png").exists()
    page = package.run("anasyn", "report", "runs/drawn-cats", "--out", "page.html", cwd=tmp_path)
    assert page == "page.html\n"
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")


def test_a_users_program_is_checked_against_the_package_s_types(package, tmp_path):
    (tmp_path / "program.py").write_text(USER_PROGRAM)
    (tmp_path / "mypy.ini").write_text(MYPY_SETTINGS)
    python = package.environment / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "program.py"]
    clean = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    errors = re.findall(r"^program\.py:(\d+): error: .*\[(.+)\]$", done.stdout, re.MULTILINE)
    assert errors == [("3", "arg-type")], done.stdout + done.stderr


def test_the_version_is_the_same_everywhere():
    released = re.search(r"^## \[(.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    version = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    date = re.search(r"^date-released: (\S+)$", citation, re.MULTILINE)
    assert released
    assert version
    assert date
    assert version[1] == released[1] == anasyn.__version__
    assert date[1].strip("'\"") == released[2]
