"""A batch that a Dask cluster shares gives the marks that one machine gives."""

import pytest
from dask.distributed import LocalCluster
from grading_cases import RIGHT, WRONG, as_bytes, filled, unsolved
from grading_sheet import NAME, SHEET

from course_lib.classroom import masters
from course_lib.classroom.grading.attempts import Rules
from course_lib.classroom.grading.batch import GradingError, grade
from course_lib.classroom.grading.cluster import grade_on
from course_lib.classroom.grading.journal import Journal
from course_lib.classroom.grading.submissions import Submission

NOTEBOOKS = {"ana": filled(RIGHT), "bo": filled(WRONG), "cy": unsolved(), "di": filled(RIGHT | {"90.3": WRONG["90.3"]})}


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    path = tmp_path_factory.mktemp("course") / f"{NAME}.py"
    path.write_text(SHEET, encoding="utf-8")
    return masters.load(path)


def class_of() -> list[Submission]:
    handed = [Submission(learner=name, lesson=NAME, source=name, data=as_bytes(book)) for name, book in NOTEBOOKS.items()]
    return [*handed, Submission(learner="ed", lesson=NAME, source="ed", problem="it is no notebook")]


def test_a_cluster_gives_the_marks_of_one_machine(master, tmp_path):
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "local_directory": str(tmp_path / "workers")}
    with LocalCluster(**workers, dashboard_address=None) as cluster:
        journal = Journal(tmp_path / "shared.jsonl")
        shared = grade_on(
            cluster.scheduler_address, class_of(), masters={NAME: master}, journal=journal, rules=Rules(seconds=5)
        )
    assert {g.learner: g.earned for g in shared} == {"ana": 10, "bo": 0, "cy": 0, "di": 7, "ed": 0}
    alone = grade(class_of(), masters={NAME: master}, journal=Journal(tmp_path / "alone.jsonl"), rules=Rules(seconds=5))
    assert [(g.learner, [v.state for v in g.verdicts]) for g in shared] == [
        (g.learner, [v.state for v in g.verdicts]) for g in alone
    ]
    assert len(journal.done) == 20 and len(Journal(tmp_path / "shared.jsonl").done) == 20


def test_a_scheduler_that_is_not_there_is_named(master, tmp_path, monkeypatch):
    monkeypatch.setattr("dask.distributed.Client", lambda *a, **k: (_ for _ in ()).throw(OSError("timed out")))
    with pytest.raises(GradingError, match="no Dask scheduler answers at tcp://127.0.0.1:1 .*: start it, or leave"):
        grade_on("tcp://127.0.0.1:1", class_of(), masters={NAME: master}, journal=Journal(tmp_path / "j"), rules=Rules())
