"""Masters into notebooks: solutions/NN.ipynb (solved) and lessons/NN.ipynb (unsolved), both executed."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from course_lib.classroom import masters
from course_lib.classroom.kernel import BuildError, bare, execute
from course_lib.config import settings

LARGEST = 300_000  # bytes of a notebook
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


@dataclass(frozen=True)
class Target:
    """One notebook to be: where it goes, and its cells without outputs."""

    path: Path
    notebook: dict

    @property
    def label(self) -> str:
        """Folder and file name, for messages."""
        return f"{self.path.parent.name}/{self.path.name}"


def build(
    names: Iterable[str] = (), *, check: bool = False, jobs: int = 2, force: bool = False, root: Path | None = None
) -> int:
    """Build what changed (or, with check, only compare), say what was done, and return an exit status: 0 or 1.

    names: lessons as "04", "4" or "04_dot_product", all when empty; check: write nothing; jobs: notebooks executed at a
    time; force: also what did not change (after a change in the library); root: folder of solutions/ and lessons/.
    """
    root = Path(root or settings().project)
    try:
        if not check:
            return 0 if rebuild(list(names), jobs=jobs, force=force, root=root) else _say("nothing changed", 0)
        found = stale(list(names), root=root)
    except (BuildError, masters.MasterError) as error:
        return _say(f"course build: {error}", 1)
    if found:
        return _say("\n".join([*found, "Run `course build` and commit the notebooks with their masters."]), 1)
    return _say("every notebook is the one that its master asks for", 0)


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr if status else sys.stdout)
    return status


def rebuild(names: list[str], *, jobs: int, force: bool, root: Path) -> list[str]:
    """Execute and write what differs from its master; labels of the notebooks written.

    Raises BuildError where a cell fails, writes to stderr, or a notebook grows too large; MasterError for a faulty master.
    """
    wanted = [t for t in _targets(names, root) if force or differences(t)]
    if jobs < 2 or len(wanted) < 2:
        return [_announce(t, _make(t)) for t in wanted]
    with ProcessPoolExecutor(min(jobs, len(wanted))) as pool:
        running = [(t, pool.submit(_make, t)) for t in wanted]
        return [_announce(t, job.result()) for t, job in running]


def stale(names: list[str], *, root: Path) -> list[str]:
    """One line for each notebook that is not what its master asks for, or has none."""
    return [line for t in _targets(names, root) for line in differences(t)] + ([] if names else orphans(root))


def _targets(names: list[str], root: Path) -> list[Target]:
    return [t for path in select(names, root) for t in targets_of(masters.load(path), root)]


def select(names: list[str], root: Path) -> list[Path]:
    """Masters whose number or name was asked for."""
    paths = masters.masters(root / "solutions")
    if not names:
        return paths
    chosen = []
    for name in names:
        stem = Path(str(name)).stem
        found = [p for p in paths if p.stem == stem or (stem.isdigit() and p.stem[:2] == stem.zfill(2))]
        if not found:
            raise BuildError(f"there is no lesson {name!r} in {root / 'solutions'}; there are: {[p.stem for p in paths]}")
        chosen += found
    return sorted(set(chosen))


def targets_of(master: masters.Master, root: Path) -> list[Target]:
    """The solved and the unsolved notebook of a master."""
    solved, unsolved = [], []
    for cell in master.cells:
        if cell.is_wrong:
            continue
        number = master.number_of(cell) if cell.is_answer else ""
        solved.append((cell, masters.solved(cell)))
        unsolved.append((cell, masters.unsolved(cell, number)))
    file = f"{master.name}.ipynb"
    return [
        Target(root / "solutions" / file, notebook(solved)),
        Target(root / "lessons" / file, notebook(unsolved)),
    ]


def notebook(cells: list[tuple[masters.Cell, str]]) -> dict:
    """Nbformat 4.5, with ids from the cells' content, so that the same master gives the same file."""
    from nbformat import v4

    result = v4.new_notebook(metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    counts: dict[str, int] = {}
    for cell, source in cells:
        digest = hashlib.sha256((cell.kind + source).encode()).hexdigest()[:8]
        counts[digest] = counts.get(digest, 0) + 1
        made = v4.new_code_cell(source) if cell.kind == "code" else v4.new_markdown_cell(source)
        made["id"] = digest if counts[digest] == 1 else f"{digest}-{counts[digest]}"
        made["metadata"] = {
            **({"nbgrader": cell.nbgrader} if cell.nbgrader else {}),
            **({"tags": list(cell.tags)} if cell.tags else {}),
        }
        result["cells"].append(made)
    return result


def differences(target: Target) -> list[str]:
    """What keeps a notebook on disk from being the one that its master asks for; outputs are nbval's affair."""
    import nbformat

    if not target.path.exists():
        return [f"{target.label}: not built yet"]
    try:
        found = nbformat.read(target.path, as_version=nbformat.NO_CONVERT)
    except Exception as error:
        return [f"{target.label}: cannot be read as a notebook ({type(error).__name__})"]
    if bare(found["metadata"]) != bare(target.notebook["metadata"]) or found.get("nbformat_minor", 0) < 5:
        return [f"{target.label}: notebook metadata differ"]
    for n, (old, new) in enumerate(zip(found["cells"], target.notebook["cells"], strict=False), start=1):
        changed = [k for k in ("cell_type", "source", "metadata", "id") if bare(old.get(k)) != bare(new[k])]
        if changed:
            return [f"{target.label}: cell {n} differs in {', '.join(changed)}"]
    if len(found["cells"]) != len(target.notebook["cells"]):
        return [f"{target.label}: {len(found['cells'])} cells in place of {len(target.notebook['cells'])}"]
    counts = [c.get("execution_count") for c in found["cells"] if c["cell_type"] == "code"]
    if counts != list(range(1, len(counts) + 1)):
        return [f"{target.label}: not executed from top to bottom"]
    return []


def orphans(root: Path) -> list[str]:
    """Notebooks without a master."""
    known = {p.stem for p in masters.masters(root / "solutions")}
    paths = [p for folder in ("solutions", "lessons") for p in sorted((root / folder).glob("*.ipynb"))]
    return [f"{p.parent.name}/{p.name}: has no master in solutions/; delete it" for p in paths if p.stem not in known]


def _make(target: Target) -> int:
    """Execute and write one notebook; returns its size in bytes."""
    import nbformat

    target.path.parent.mkdir(parents=True, exist_ok=True)
    notebook = execute(target.notebook, target.path.parent, target.label)
    nbformat.validate(notebook)
    content = (nbformat.writes(notebook, indent=1).rstrip("\n") + "\n").encode()
    if len(content) > LARGEST:
        raise BuildError(
            f"{target.label}: {len(content):,} bytes; at most {LARGEST:,}: fewer or smaller figures, shorter tables"
        )
    handle, beside = tempfile.mkstemp(dir=target.path.parent, prefix=".build-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(beside, 0o644)
        os.replace(beside, target.path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return len(content)


def _announce(target: Target, size: int) -> str:
    print(f"built {target.label} ({size / 1000:.0f} kB)", flush=True)
    return target.label


if __name__ == "__main__":
    arguments = sys.argv[1:]
    flags = {a for a in arguments if a.startswith("--")}
    sys.exit(build([a for a in arguments if a not in flags], check="--check" in flags, force="--force" in flags))
