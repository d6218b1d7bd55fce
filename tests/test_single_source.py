"""What a lesson derives and the library holds under one name is one piece of code: the same syntax tree."""

import ast
import importlib
import pkgutil

import pytest

import course_lib
from course_lib.classroom import masters

# Lessons that must share names with the library, and how many.
DERIVED = {"01": 2, "02": 2, "03": 2, "04": 2, "05": 2, "06": 2, "09": 2, "10": 3, "11": 3}


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings and annotations."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):  # noqa: N802
        self.generic_visit(node)
        return ast.Assign(targets=[node.target], value=node.value) if node.value else ast.Pass()

    def visit_FunctionDef(self, node):  # noqa: N802
        node.returns = None
        return self.visit_ClassDef(node)

    def visit_ClassDef(self, node):  # noqa: N802
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node


def bare(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(_Bare().visit(node)))


def library() -> dict[str, list[str]]:
    """Functions and classes that a lesson can import from course_lib.layer: name → their bare sources."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(course_lib.__path__, "course_lib."):
        if ".classroom" in module.name:
            continue
        public = dir(importlib.import_module(".".join(module.name.split(".")[:2])))
        with open(importlib.util.find_spec(module.name).origin, encoding="utf-8") as file:
            body = ast.parse(file.read()).body
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and node.name in public:
                found.setdefault(node.name, []).append(bare(node))
    return found


LIBRARY = library()


def shared(path) -> dict[str, list[str]]:
    """Definitions of a master that bear a library name (wrong answers left out)."""
    found: dict[str, list[str]] = {}
    for cell in masters.load(path).cells:
        if cell.kind == "code" and not cell.is_wrong:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in LIBRARY:
                    found.setdefault(node.name, []).append(bare(node))
    return found


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in masters.masters()])
def test_shared_names_are_shared_code(path):
    found = shared(path)
    differing = {name: (code, LIBRARY[name]) for name, code in found.items() if not set(code) <= set(LIBRARY[name])}
    message = "\n\n".join(f"{n}, lesson:\n{a[0]}\nlibrary:\n{b[0]}" for n, (a, b) in differing.items())
    assert not differing, message
    assert len(found) >= DERIVED.get(path.stem[:2], 0), f"shares only {sorted(found)} with the library"


def test_bare_ignores_words_but_not_code():
    one = 'def f(x: int) -> int:\n    """Doc."""\n    y: int = x\n    return y'
    two = "def f(x):\n    y = x\n    return y"
    assert bare(ast.parse(one)) == bare(ast.parse(two)) != bare(ast.parse(two.replace("y = x", "y = -x")))
