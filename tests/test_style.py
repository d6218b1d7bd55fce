"""Every lesson keeps the frame, describes its figures, and stays small; held against masters and built notebooks."""

import ast
import json
import re
import warnings
from pathlib import Path

import pytest

from course_lib.classroom import masters
from course_lib.config import settings

ROOT = settings().project
MASTERS = [pytest.param(path, id=path.stem) for path in masters.masters()]
NOTEBOOKS = [
    pytest.param(ROOT / folder / f"{p.stem}.ipynb", id=f"{folder}/{p.stem}")
    for folder in ("solutions", "lessons")
    for p in masters.masters()
]
SECTIONS = ["## Recap", "## Quiz", "## In the article", "## Further reading", "## Words", "## Next"]
OPENING = ["**Question.**", "**We will**", "**You need**", "**Time**"]
WORDS = (900, 1_800, 2_000)  # rather not fewer, rather not more, never more
LINK = re.compile(r"\]\(([^)\s]+)\)")
NO_PROSE = re.compile(r"<details>.*?</details>|\$\$.*?\$\$|\$.*?\$|```.*?```|`[^`]*`|^\|.*?$", re.DOTALL | re.MULTILINE)


@pytest.fixture(params=MASTERS)
def master(request):
    """A lesson's master."""
    return masters.load(request.param)


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    """A built notebook: its path and its cells."""
    return request.param, json.loads(request.param.read_text(encoding="utf-8"))


def prose(master) -> str:
    return "\n\n".join(cell.source for cell in master.cells if cell.kind == "markdown")


def code(master) -> list:
    return [cell for cell in master.cells if cell.kind == "code" and not cell.is_wrong]


def test_opening(master):
    first = master.cells[0].source
    assert first.startswith(f"# {int(master.name[:2])} · "), "the first cell is '# N · noun'"
    assert [part for part in OPENING if part not in first] == []


def test_sections_in_order(master):
    headings = re.findall(r"^## .+$", prose(master), re.MULTILINE)
    assert headings[-len(SECTIONS) :] == SECTIONS


def test_quiz_explains_every_choice(master):
    quiz = prose(master).split("\n## Quiz\n")[1].split("\n## In the article\n")[0]
    questions = re.split(r"^\*\*\d+\.\*\*", quiz, flags=re.MULTILINE)[1:]
    assert len(questions) >= 5, f"{len(questions)} questions of the form '**1.** …'"
    for question in questions:
        choices = re.findall(r"<details><summary>.+?</summary>\s*(.*?)\s*</details>", question, re.DOTALL)
        assert len(choices) >= 2 and all(len(c.split()) >= 3 for c in choices), question[:80]


def test_verdict_on_the_article(master):
    section = prose(master).split("\n## In the article\n")[1].split("\n## ")[0]
    assert re.search(r"holds|does not hold", section), "a verdict: holds / holds with conditions / does not hold"
    assert re.search(r"\d", section), "with a number"


def test_words_in_two_languages(master):
    section = prose(master).split("\n## Words\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 3 and all(re.search(r"[\u4e00-\u9fff]", row) and row.count("|") == 4 for row in rows)


def test_details_are_closed(master):
    for cell in master.cells:
        if cell.kind == "markdown":
            assert cell.source.count("<details>") == cell.source.count("</details>") == cell.source.count("<summary>")


def test_length_of_prose(master):
    """Words that teach: the body up to the recap. Exercises, formulas, code and tables are counted in minutes, not here."""
    cells = [cell.source for cell in master.cells if cell.kind == "markdown" and not cell.source.startswith("### Exercise")]
    text = NO_PROSE.sub(" ", "\n\n".join(cells).split("## Recap\n")[0])
    words = sum(any(letter.isalpha() for letter in word) for word in text.split())
    if not WORDS[0] <= words <= WORDS[1]:
        warnings.warn(f"{master.name}: {words} words of prose; {WORDS[0]} to {WORDS[1]} read well", stacklevel=1)
    assert words <= WORDS[2], f"{words} words of prose; at most {WORDS[2]}"


def test_rhythm(master):
    """Two code cells in a row at most twice, the answer and its check left aside; never three."""
    kinds = ["check" if c.is_check else c.kind for c in master.cells if not c.is_wrong]
    runs = [r for r in re.findall(r"c+", "".join({"code": "c", "check": "k"}.get(k, "m") for k in kinds)) if len(r) > 1]
    assert len(runs) <= 2 and all(len(r) == 2 for r in runs), f"{len(runs)} runs of code cells without a word between"


def test_imports(master):
    trees = [ast.parse(cell.source) for cell in code(master)]
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"from {node.module} import *: name what you use"
    outside = [n for tree in trees[1:] for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    foreign = [ast.unparse(n) for n in outside if not getattr(n, "module", "").startswith("course_lib")]
    assert not foreign, f"imports belong into the first code cell (the library's version of an exercise excepted): {foreign}"
    groups: list[list[str]] = [[], []]
    for node in trees[0].body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            name = getattr(node, "module", None) or node.names[0].name
            groups[name.startswith("course_lib")].append(name)
    assert sum(map(len, groups)) >= 2, "the first code cell holds the imports"
    assert groups[1] == sorted(groups[1]), "sorted imports"


def test_nothing_hidden_or_fetched(master):
    text = "\n".join(cell.source for cell in code(master))
    found = re.findall(
        r"sys\.path|^\s*[!%]|\bpip install\b|filterwarnings|simplefilter|catch_warnings|\brequests\b|urllib", text, re.M
    )
    assert not found, found


def test_figures_and_a_widget(master):
    text = "\n".join(cell.source for cell in code(master))
    assert len(re.findall(r"plots\.show\(", text)) >= 2, "at least two figures"
    live = [c for c in code(master) if re.search(r"\binteract(ive|ive_output|_manual)?\(|widgets\.\w+\(", c.source)]
    assert live, "at least one widget"
    assert all("nbval-ignore-output" in c.tags for c in live if "interact" in c.source), (
        "tag a widget's cell nbval-ignore-output"
    )
    assert not re.search(r"plt\.show\(|\.savefig\(", text), "figures go out through plots.show, with a description"


def test_links_resolve(notebook):
    path, content = notebook
    text = "\n".join("".join(c["source"]) for c in content["cells"] if c["cell_type"] == "markdown")
    local = [link.split("#")[0] for link in LINK.findall(text) if not re.match(r"https?:|#|mailto:", link)]
    missing = [link for link in local if link and not (path.parent / link).exists()]
    assert not missing, missing


def test_size_and_metadata(notebook):
    path, content = notebook
    assert path.stat().st_size <= 300_000
    assert content["metadata"]["kernelspec"]["language"] == "python", "without it linters skip the file silently"
    assert set(content["metadata"]) == {"kernelspec", "language_info"}, "no widget state, nothing of an editor's"
    assert all(set(cell["metadata"]) <= {"tags", "nbgrader"} for cell in content["cells"])


def test_images_are_described(notebook):
    _, content = notebook
    outputs = [o for c in content["cells"] for o in c.get("outputs", [])]
    images = [(i, o) for i, o in enumerate(outputs) if any(k.startswith("image/") for k in o.get("data", {}))]
    assert len(images) >= 2, f"{len(images)} figures in the notebook"
    for i, image in images:
        words = "".join(image["data"].get("text/plain", "")).strip()
        assert len(words) >= 40 and "<Figure" not in words, f"a figure's description: {words!r}"
        seen = [json.dumps(o.get("data", {}), ensure_ascii=False) for o in outputs[i : i + 2]]
        html = "".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs[i : i + 2])
        assert html or len(seen) > 1, "a visible caption stands below the figure"


def test_outputs_are_quiet(notebook):
    _, content = notebook
    for output in (o for c in content["cells"] for o in c.get("outputs", [])):
        assert output["output_type"] != "error" and output.get("name") != "stderr"
        text = json.dumps(output.get("data", output.get("text", "")))
        assert not re.search(r"Warning\b|it/s\]| at 0x[0-9a-f]{6}|/home/|site-packages", text), text[:300]


def test_there_is_a_map_of_the_lessons():
    text = Path(ROOT / "lessons" / "README.md").read_text(encoding="utf-8")
    assert [p.stem for p in masters.masters() if f"{p.stem}.ipynb" not in text] == []
