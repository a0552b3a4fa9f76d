"""What differs between models is said in their methods: nothing else asks which kind of model it has."""

import ast
from pathlib import Path

import pytest

import anasyn

PACKAGE = Path(anasyn.__file__).parent
ALLOWED = ("methods", "learning")
KINDS = ("Learner", "Generator", "Descriptor", "Settings", "Recipe", "Method", "Run")
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ALLOWED)


def dispatch(source: str) -> list[str]:
    """What asks for a kind of model: isinstance, match or type() on one, `is_generator`, a method's name compared."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                names = [n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(kinds)
                         if isinstance(n, ast.Name | ast.Attribute)]  # fmt: skip
                found += [name for name in names if name.endswith(KINDS)]
            case ast.MatchClass(cls=ast.Name(id=name) | ast.Attribute(attr=name)) if name.endswith(KINDS):
                found.append(name)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in ("is_generator", "is_descriptor"):
                found.append(name)
            case ast.Compare(left=left, comparators=others):
                for side in (left, *others):
                    if isinstance(side, ast.Constant) and side.value in ("generator", "descriptor"):
                        found.append(side.value)
                    if isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id == "type":
                        found += [n.id for o in (left, *others) for n in ast.walk(o)
                                  if isinstance(n, ast.Name) and n.id.endswith(KINDS)]  # fmt: skip
            case ast.Call(func=ast.Name(id="hasattr")):
                found.append("hasattr")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_asks_for_the_kind_of_model(path: Path) -> None:
    assert not dispatch(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted((PACKAGE / "report" / "templates").iterdir()), ids=lambda path: path.name)
def test_no_page_asks_either(path: Path) -> None:
    assert "kind ==" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(learner, GeneratorLearner)",
        "isinstance(x, (int, learning.DescriptorLearner))",
        "isinstance(model, Generator | None)",
        "isinstance(run.settings, GeneratorSettings)",
        "if run.is_generator: pass",
        "x = 1 if run.kind == 'generator' else 2",
        "type(recipe) is GeneratorSettings",
        "match learner:\n    case DescriptorLearner(): pass",
        "hasattr(recipe, 'latent_dim')",
        "if run.method.name in ('x',) or 'descriptor' == run.method.name: pass",
    ],
)
def test_planted_questions_are_caught(source: str) -> None:
    assert dispatch(source)
