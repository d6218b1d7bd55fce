"""The library's order: a module imports only from those above it; no module grows into two ideas."""

import ast
from pathlib import Path

import pytest

import course_lib

ROOT = Path(course_lib.__file__).parent
ORDER = [
    "config", "datasets", "splitting", "evaluation", "text", "transformer", "training", "adapters", "models",
    "knowledge_graph", "curriculum", "serving", "plots", "experiments", "classroom",
]  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 300  # lines


def layer(path: Path) -> str:
    """Name of the module or package right below course_lib."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """Layers of course_lib that a source imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports within the library are absolute"
            if node.module == "course_lib":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("course_lib."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("course_lib.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_upwards(path):
    if path == ROOT / "__init__.py":
        assert imported(path.read_text()) == set()
        return
    own = layer(path)
    assert own in ORDER, f"{own} has no place in the library's order; give it one in ORDER"
    below = {name for name in imported(path.read_text()) if ORDER.index(name) > ORDER.index(own)}
    assert not below, f"{own} imports from below: {sorted(below)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_short_and_explained(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "the first line says what the module holds"


def test_imported_sees_every_form():
    source = "import course_lib.plots\nfrom course_lib import text\ndef f():\n    from course_lib.models.base import predict"
    assert imported(source) == {"plots", "text", "models"}
