"""Settings of the course, read once from the environment."""

import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PROFILES = ("cpu", "gpu")
PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What may differ from one computer to the next.

    asked: the profile that the environment names, or ""; seed: start of every random generator of a lesson; cache: folder of
    the fetched data; project: root of the repository; state: small local files such as progress; grading: whether a failed
    check raises.
    """

    asked: str
    seed: int
    cache: Path
    project: Path
    state: Path
    grading: bool

    @cached_property
    def profile(self) -> str:
        """The profile in force, cpu or gpu; where none is named, gpu if torch sees one."""
        return self.asked or ("gpu" if _sees_gpu() else "cpu")

    @property
    def device(self) -> str:
        """Name of the device that torch computes on: "cpu" or "cuda"."""
        return "cuda" if self.profile == "gpu" else "cpu"


@cache
def settings() -> Settings:
    """Settings from COURSE_PROFILE, COURSE_SEED, COURSE_DATA, COURSE_STATE and COURSE_GRADING.

    Raises ValueError for an unknown profile, a GPU profile without a GPU, or a seed that is not a whole number.
    """
    profile = os.environ.get("COURSE_PROFILE") or ""
    if profile not in ("", *PROFILES):
        raise ValueError(f"COURSE_PROFILE is {profile!r}; it must be one of {', '.join(PROFILES)}")
    if profile == "gpu" and not _sees_gpu():
        raise ValueError("COURSE_PROFILE is 'gpu', but torch sees no GPU; unset it, or set it to 'cpu'")
    seed = os.environ.get("COURSE_SEED") or "2026"
    if not seed.isdigit():
        raise ValueError(f"COURSE_SEED is {seed!r}; it must be a whole number, 0 or larger")
    return Settings(
        asked=profile,
        seed=int(seed),
        cache=Path(os.environ.get("COURSE_DATA") or PROJECT / "data" / "cache").expanduser(),
        project=PROJECT,
        state=Path(os.environ.get("COURSE_STATE") or PROJECT / ".course").expanduser(),
        grading=os.environ.get("COURSE_GRADING") == "1",
    )


def _sees_gpu() -> bool:
    import torch  # takes seconds, and most commands of the command line do without

    return torch.cuda.is_available()
