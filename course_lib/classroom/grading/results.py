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
    """An answer in words. earned: the points that a person gave, None as long as nobody has."""

    grade_id: str
    points: float
    text: str
    earned: float | None = None


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
        """Points of the exercises that passed, and those that a person gave."""
        return sum(v.earned for v in self.verdicts) + sum(t.earned or 0.0 for t in self.texts)

    @property
    def total(self) -> float:
        """Points that there were to earn in all that is judged so far."""
        return sum(v.points for v in self.verdicts) + sum(t.points for t in self.texts if t.earned is not None)

    @property
    def waiting(self) -> float:
        """Points of the answers in words that nobody has judged yet."""
        return sum(t.points for t in self.texts if t.earned is None)

    def as_dict(self) -> dict:
        """Plain dicts, lists, strings and numbers, with the sums."""
        return asdict(self) | {"earned": self.earned, "total": self.total, "waiting": self.waiting}
