"""What a lesson needs besides the library: the check cells and the learner's own progress."""

from course_lib.classroom.check import ExerciseFailed, check
from course_lib.classroom.progress import progress

__all__ = ["ExerciseFailed", "check", "progress"]
