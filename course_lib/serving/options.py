"""What an operator may set, each also by an environment variable, because worker processes are told nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

PREFIX = "COURSE_"
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Limits and switches of the service; the variable of `max_in_flight` is COURSE_MAX_IN_FLIGHT, and so on.

    token: bearer token that every route but health and metrics asks for (None: open); feedback: JSONL file that POST
    /feedback appends to (None: no such route); max_in_flight: requests worked on at once by one worker, more are refused
    with 503; max_body: bytes of a request; max_k: items of an answer; max_liked: items of a cold start; max_text: characters
    of a text; max_rows: rows of an inference request; timeout: seconds for a request with a body; reload_seconds: how often
    the package is looked at (0: never); log: debug (each request), info, warning or error.
    Raises ValueError for a value out of range.
    """

    token: str | None = None
    feedback: Path | None = None
    max_in_flight: int = 64
    max_body: int = 65_536
    max_k: int = 100
    max_liked: int = 100
    max_text: int = 1_000
    max_rows: int = 64
    timeout: float = 10.0
    reload_seconds: float = 1.0
    log: str = "warning"

    def __post_init__(self):
        if self.feedback is not None:
            object.__setattr__(self, "feedback", Path(self.feedback).absolute())
        if self.token is not None and not (self.token and self.token.isascii() and self.token.isprintable()):
            raise ValueError("token must be one or more printable ASCII characters; leave it out for an open service")
        for name in ("max_in_flight", "max_body", "max_k", "max_liked", "max_text", "max_rows"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is a whole number from 1 on, not {value!r}")
        if not (self.timeout > 0 and self.reload_seconds >= 0):
            raise ValueError(
                f"timeout is positive, reload_seconds not negative; they are {self.timeout} and {self.reload_seconds}"
            )
        if self.log not in LEVELS:
            raise ValueError(f"log is one of {', '.join(LEVELS)}, not {self.log!r}")

    @classmethod
    def from_environment(cls, environment=os.environ, **given) -> Options:
        """Options from COURSE_TOKEN, COURSE_FEEDBACK, …; what is `given` by name wins. Raises ValueError."""
        found = {}
        for field in fields(cls):
            text = environment.get(PREFIX + field.name.upper())
            if text:
                found[field.name] = _parsed(PREFIX + field.name.upper(), text, field.type)
        return cls(**found | given)

    @property
    def usual_k(self) -> int:
        """Items of an answer where nobody asks for a number."""
        return min(10, self.max_k)

    def environment(self) -> dict[str, str]:
        """The variables that make these options again; those at their default are left out."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {PREFIX + name.upper(): str(value) for name, value in changed.items()}


def _parsed(variable: str, text: str, kind: str):
    """The text of a variable as the field's type."""
    number = {"int": int, "float": float}.get(kind)
    if number is None:
        return text
    try:
        return number(text)
    except ValueError:
        raise ValueError(f"{variable} is {text!r}; a number is needed ({kind})") from None
