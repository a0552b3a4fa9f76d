"""The way of the data: nothing later is imported by anything earlier, and torch comes only when needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import anasyn

PACKAGE = Path(anasyn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# log-density ← mcmc, models ← learning ← methods, recipes ← run ← evaluation ← diagnostics ← report ← cli.
# Errors, fusion, rng, ranks, memory, data and the processor stand beside; mcmc and models do not know each other.
BESIDE = {"errors", "rng", "ranks", "memory", "data", "fusion"}
LEARNING = BESIDE | {"mcmc", "models", "processor"}
MAY_IMPORT = {
    "errors": set(),
    "fusion": set(),
    "rng": {"fusion"},
    "ranks": set(),
    "memory": set(),
    "data": {"errors", "rng", "progress"},  # progress knows what is learned by its type alone
    "processor": set(),
    "mcmc": BESIDE | {"processor"},
    "models": BESIDE,
    "learning": LEARNING,
    "methods": LEARNING | {"learning"},
    "recipes": {"methods"},
    "run": LEARNING | {"learning", "methods", "recipes"},
    "evaluation": LEARNING | {"learning", "methods", "recipes", "run"},
    "diagnostics": LEARNING | {"learning", "methods", "recipes", "run", "evaluation"},
    "report": LEARNING | {"learning", "methods", "recipes", "run", "evaluation", "diagnostics"},
    "progress": BESIDE | {"learning"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__main__"] = {"cli"}
PICKLING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def module(path: Path) -> list[str]:
    """anasyn/mcmc/hmc.py → [anasyn, mcmc, hmc]; a package's __init__ is the package's own name and __init__."""
    return ["anasyn", *path.relative_to(PACKAGE).with_suffix("").parts]


def imported(tree: ast.AST, here: list[str]) -> Iterator[list[str]]:
    """The absolute names of all that a module imports, at its top or within."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: -node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from ([*base, alias.name] for alias in node.names)


def arrows(source: str, here: list[str]) -> set[tuple[str, str]]:
    """(this part, the part it imports), for parts of anasyn."""
    return {
        (here[1], name[1])
        for name in imported(ast.parse(source), here)
        if name[0] == "anasyn" and len(name) > 1 and name[1] != here[1]
    }


def forbidden_arrows(source: str, here: list[str]) -> set[tuple[str, str]]:
    """A name of the package itself, as `__version__`, is no arrow."""
    return {(a, b) for a, b in arrows(source, here) if b not in MAY_IMPORT[a] and not b.startswith("__")}


def pickling(source: str) -> set[str]:
    """What a module does that would read or write pickles."""
    tree, found = ast.parse(source), set()
    for name in imported(tree, ["anasyn", "x"]):
        found |= PICKLING & set(name)
        if name[0] == "torch" and name[-1] in {"save", "load"}:
            found.add(".".join(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "torch" and node.attr in {"save", "load"}:
                found.add(f"torch.{node.attr}")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.add("allow_pickle")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_later_is_imported_by_anything_earlier(path):
    here = module(path)
    if here[1] == "__init__":
        return  # the public names, imported at their first use
    assert here[1] in MAY_IMPORT, f"{path}: a part that the order of imports does not know"
    assert not forbidden_arrows(path.read_text("utf-8"), here)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_pickled(path):
    """Run directories are safetensors and JSON only."""
    assert not pickling(path.read_text("utf-8"))


def test_the_walk_sees_the_package():
    seen = {arrow for path in FILES for arrow in arrows(path.read_text("utf-8"), module(path))}
    assert {("learning", "mcmc"), ("learning", "models"), ("mcmc", "rng")} <= seen


@pytest.mark.parametrize(
    ("here", "source"),
    [
        ("mcmc.hmc", "from ..models import Generator"),
        ("mcmc.hmc", "from .. import models"),
        ("mcmc.hmc", "import anasyn.models.generator"),
        ("models.generator", "def f():\n    from anasyn.mcmc import run"),
        ("models.__init__", "from ..mcmc import run"),
        ("learning.driver", "from ..run import Run"),
        ("learning.driver", "from anasyn import GeneratorLearner, run"),
        ("run.directory", "from ..report import html"),
        ("learning.generator", "from ..methods import Settings"),
        ("methods.generator", "def build():\n    from ..run import Run"),
        ("models.networks", "from ..processor import frozen"),
        ("processor.freezing", "from ..models import Generator"),
        ("rng", "from . import mcmc"),
        ("data.folders", "from ..learning import learn"),
        ("evaluation.distance", "from ..report import figures"),
        ("report.html", "from ..cli import main"),
        ("recipes", "from .run import Run"),
        ("progress", "from .cli import main"),
        ("evaluation.runs", "from anasyn import Run"),
    ],
)
def test_planted_arrows_are_caught(here, source):
    assert forbidden_arrows(source, ["anasyn", *here.split(".")])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.save(x, 'f')",
        "def f():\n    return torch.load('f', weights_only=True)",
        "from torch import load",
        "np.load('f', allow_pickle=True)",
        "import torch.serialization\nfrom torch.serialization import load",
    ],
)
def test_planted_pickling_is_caught(source):
    assert pickling(source)


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_anasyn_does_not_import_torch():
    loaded = loaded_after(f"sys.path.insert(0, {str(PACKAGE.parent)!r}); import anasyn; dir(anasyn)")
    assert "anasyn" in loaded
    assert not {"torch", "numpy", "matplotlib", "PIL"} & loaded


def test_a_public_name_imports_what_it_needs():
    loaded = loaded_after(f"sys.path.insert(0, {str(PACKAGE.parent)!r}); import anasyn; anasyn.MALA")
    assert "torch" in loaded


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = anasyn.nonsense
