"""A small batch that was graded, for the tests of its reports; and readers of what they hold."""

import csv
import io
from datetime import UTC, datetime
from html.parser import HTMLParser

from course_lib.classroom import masters
from course_lib.classroom.check import FAILED, PASSED
from course_lib.classroom.grading.report import write_reports
from course_lib.classroom.grading.results import UNREADABLE, FreeText, Graded, Verdict

LESSON = "90_small_things"
STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
META = '"schema_version": 3, "locked": false, "task": false'
MASTER = masters.parse(
    f"""# %% [markdown]
# # 90 · Small things

# %% [markdown]
# ### Exercise 90.1 · A `half` & more
# 2 min

# %% nbgrader={{"grade_id": "90-1-half", "solution": true, "grade": false, {META}}}
def half(x):
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION

# %% nbgrader={{"grade_id": "90-1-check", "points": 0.1, "solution": false, "grade": true, {META}}}
with check("90.1", points=0.1):
    assert half(3) == 1.5

# %% [markdown]
# ### Exercise 90.2 · In words

# %% [markdown] nbgrader={{"grade_id": "90-2-explain", "points": 2, "solution": true, "grade": true, {META}}}
# ### BEGIN SOLUTION
# Because.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 90.3 · Twice

# %% nbgrader={{"grade_id": "90-3-twice", "solution": true, "grade": false, {META}}}
### BEGIN SOLUTION
twice = 4
### END SOLUTION

# %% nbgrader={{"grade_id": "90-3-check", "points": 0.2, "solution": false, "grade": true, {META}}}
with check("90.3", points=0.2):
    assert twice == 4
""",
    masters.Path(f"{LESSON}.py"),
)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\x1b[31m\ud800\u202e]]>"


def graded(learner="ann", *, states=(PASSED, FAILED), text="It is.", lesson=LESSON, **options):
    verdicts = (
        Verdict("90.1", states[0], 0.1, "" if states[0] == PASSED else "halve it", seconds=0.25),
        Verdict("90.3", states[1], 0.2, options.pop("message", "add 'x', then double"), (("Seen", "3"),), 0.5),
    )
    texts = (FreeText("90-2-explain", 2, text),)
    return Graded(learner, lesson, f"{learner}.ipynb", verdicts, texts=texts, **options)


def unreadable(learner="bob"):
    states = (UNREADABLE, UNREADABLE)
    return Graded(learner, LESSON, "bob.ipynb", graded(states=states).verdicts, problem="bob.ipynb is no notebook")


def written(batch, out, answers=None):
    """The batch with a person's points, and lines about them."""
    return write_reports(batch, out, masters={LESSON: MASTER}, answers=answers or {}, started=STARTED, seconds=1.5)


def report(batch, out, answers=None):
    written(batch, out, answers)
    return out


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read(path):
    return rows(path.read_text(encoding="utf-8-sig"))


class Page(HTMLParser):
    """What a browser makes of a page: tags with attributes, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.texts).split())


def judge(path, *points):
    """Fill in the column `earned`, as a person would in a spreadsheet that writes semicolons."""
    table = read(path)
    for row, given in zip(table, points, strict=True):
        row["earned"] = given
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, table[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(table)
    return path
