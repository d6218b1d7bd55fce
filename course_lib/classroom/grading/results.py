"""What grading found: a verdict for each exercise of each learner, and the texts that a person must read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from course_lib.classroom.check import PASSED

OUT_OF_TIME, STOPPED, UNREADABLE = "out of time", "stopped", "could not be read"


@dataclass(frozen=True)
class Verdict:
    """One exercise of one learner. state: a card's state, or "out of time", "stopped", "could not be read"."""

    exercise: str
    state: str
    points: float
    message: str = ""
    details: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    @property
    def earned(self) -> float:
        """All points or none."""
        return self.points if self.state == PASSED else 0.0


@dataclass(frozen=True)
class FreeText:
    """An answer in words: points and judgement come from a person."""

    grade_id: str
    points: float
    text: str


@dataclass(frozen=True)
class Graded:
    """A learner's notebook of one lesson. problem: why nothing could be judged, or empty."""

    learner: str
    lesson: str
    source: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    texts: tuple[FreeText, ...] = ()
    problem: str = ""

    @property
    def earned(self) -> float:
        """Points of the exercises that passed."""
        return sum(v.earned for v in self.verdicts)

    @property
    def total(self) -> float:
        """Points that the checks can give."""
        return sum(v.points for v in self.verdicts)

    def as_dict(self) -> dict:
        """Plain dicts, lists, strings and numbers, with the sums."""
        return asdict(self) | {"earned": self.earned, "total": self.total}
