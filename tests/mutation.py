"""Small faults put into exercise solutions, to see whether the check cells notice: `python tests/mutation.py [04 …]`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from course_lib.classroom import masters

EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}  # fmt: skip
SYMMETRIC = {"max", "min", "maximum", "minimum", "add", "multiply", "isclose", "allclose", "logical_and", "logical_or", "hypot"}
FORMAL = {"strict", "dtype", "copy", "name", "kind"}  # keywords that change no result for the input an exercise promises
CONVERSIONS = {"list", "tuple", "float", "int", "str", "bool"}  # calls whose loss a fair check forgives


@dataclass(frozen=True)
class Mutant:
    """One fault: what changed ("line before => line after"), and the whole cell with it."""

    change: str
    source: str


def mutants(cell: masters.Cell) -> list[Mutant]:
    """Every distinct cell with exactly one fault inside the solution block."""
    inside, solution = False, set()
    for number, line in enumerate(cell.source.splitlines(), start=1):
        if marker := masters.MARKER.match(line):
            inside = marker.group(1) == "BEGIN"
        elif inside:
            solution.add(number)
    tree = ast.parse(cell.source)
    before = ast.unparse(tree)
    found = {}
    formal = {id(n) for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg in FORMAL for n in ast.walk(k)}
    for node in ast.walk(tree):
        if (
            id(node) not in formal
            and getattr(node, "lineno", getattr(getattr(node, "target", None), "lineno", None)) in solution
        ):
            for owner, attribute, position, value in _faults(node):
                after = _with(tree, owner, attribute, position, value)
                if after is not None and after != before:
                    found.setdefault(after, Mutant(_change(before, after), after))
    return list(found.values())


def _with(tree: ast.Module, owner: ast.AST, attribute: str, position: int | None, value) -> str | None:
    """Text of the tree with one field replaced for a moment; None where that is no Python."""
    old = getattr(owner, attribute)
    new = value if position is None else [*old[:position], *value, *old[position + 1 :]]
    setattr(owner, attribute, new)
    try:
        text = ast.unparse(ast.fix_missing_locations(deepcopy(tree)))
        compile(text, "<mutant>", "exec")
        return text
    except (SyntaxError, ValueError):
        return None
    finally:
        setattr(owner, attribute, old)


def _change(before: str, after: str) -> str:
    old, new = before.splitlines(), after.splitlines()
    start = next(i for i in range(len(old) + 1) if old[: i + 1] != new[: i + 1])
    end = next(i for i in range(len(old) + 1) if i == min(len(old), len(new)) - start or old[-i - 1] != new[-i - 1])
    pieces = (" ".join(line.strip() for line in lines[start : len(lines) - end]) for lines in (old, new))
    return " => ".join(piece or "(nothing)" for piece in pieces)


def _faults(node: ast.AST) -> Iterator[tuple]:
    """(owner, attribute, position in a list or None, new value) of each fault that starts at a node."""
    match node:
        case ast.Compare():
            for i, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield node, "ops", i, [other()]
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op) in SWAPPED:
            yield node, "op", None, SWAPPED[type(node.op)]()
        case ast.Constant(value=bool()):
            yield node, "value", None, not node.value
        case ast.Constant(value=int() | float()):
            yield node, "value", None, node.value + 1
            yield node, "value", None, node.value - 1
        case ast.Slice():
            for side in ("lower", "upper"):
                if getattr(node, side) is not None and not isinstance(getattr(node, side), ast.Constant):
                    yield from ((node, side, None, _shifted(getattr(node, side), sign)) for sign in (ast.Add(), ast.Sub()))
        case ast.Call():
            yield from _call_faults(node)
        case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
            yield from ((part, "ifs", i, []) for part in node.generators for i in range(len(part.ifs)))
    yield from _dropped(node)


def _shifted(expression: ast.expr, sign: ast.operator) -> ast.expr:
    return ast.BinOp(left=expression, op=sign, right=ast.Constant(1))


def _call_faults(node: ast.Call) -> Iterator[tuple]:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if len(node.args) >= 2 and name not in SYMMETRIC:
        yield node, "args", None, [node.args[1], node.args[0], *node.args[2:]]
    if name == "range":
        yield node, "args", 0, [_shifted(node.args[0], ast.Add())]
        yield node, "args", len(node.args) - 1, [_shifted(node.args[-1], ast.Sub())]
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in FORMAL:
            yield node, "keywords", i, []


def _dropped(node: ast.AST) -> Iterator[tuple]:
    """A term, a sign, a call, a branch or a statement less; the parent's field is replaced."""
    for attribute, value in ast.iter_fields(node):
        for position, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            for other in _less(child):
                yield node, attribute, position, [other] if position is not None else other


def _less(child) -> list[ast.AST]:
    match child:
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.BoolOp(values=[first, *rest]):
            return [first, rest[-1]]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.Call(func=ast.Name(id=name), args=[only]) if name not in CONVERSIONS and not isinstance(only, ast.Starred):
            return [only]
        case ast.Expr() | ast.AugAssign() | ast.Assert():
            return [ast.Pass()]
    return []


def equivalent() -> list[dict]:
    """Mutants known to compute the same: exercise, mutant, why."""
    if not EQUIVALENT.exists():
        return []
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])


def main(names: list[str]) -> None:
    """Print the share of faults noticed per lesson and in all, and every survivor."""
    from lesson_runner import run

    known = {(e["exercise"], e["mutant"]) for e in equivalent()}
    killed = total = 0
    for path in masters.masters():
        if names and path.stem[:2] not in {name.zfill(2) for name in names}:
            continue
        results = [r for r in run(path) if "mutant" in r and (r["exercise"], r["mutant"]) not in known]
        noticed = sum(r["rejected"] for r in results)
        killed, total = killed + noticed, total + len(results)
        print(f"{path.stem}: {noticed} of {len(results)} rejected ({noticed / max(1, len(results)):.1%})")
        for r in results:
            if not r["rejected"]:
                print(f"  survives in {r['exercise']}: {r['mutant']}")
    print(f"in all: {killed} of {total} rejected ({killed / max(1, total):.1%}), {len(known)} known to be equivalent")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
