"""What sensors that look outside have in common: a small versioned cursor, and patience. Pure: no clock, no Dagster."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

#: Of the cursors' form: a cursor of another one is forgotten, and everything is read once.
VERSION = 1

#: Looking may take this share of the time; a look that took 2 s is followed by 38 s without.
SHARE = 0.05
#: Seconds until what a failed run was asked for is asked for again.
RETRY_SECONDS = (60.0, 300.0, 900.0, 3600.0)
#: Seconds between looks at something that does not answer.
DOWN_SECONDS = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


@dataclass(frozen=True)
class Watching:
    """Part of a sensor's cursor. Times are seconds since 1970.

    Alerts read ``failing_since``: a sensor whose cursor has it does not see what it watches.
    """

    #: When the watch began; part of every run key, as run keys are remembered for ever.
    began: float
    requests: int = 0
    not_before: float = 0.0
    failing_since: float = 0.0
    failures: int = 0
    failed_requests: int = 0

    def dump(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def load(cls, cursor: str | None, now: float) -> Self:
        """The watch that was dumped; a new one when there is none, or it has another form."""
        try:
            found = json.loads(cursor or "")
            return cls(**cls.revived(found)) if found.pop("version") == VERSION else cls(now)
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls(now)

    @classmethod
    def revived(cls, found: dict[str, Any]) -> dict[str, Any]:
        """The fields as they were before they became JSON."""
        return found


W = TypeVar("W", bound=Watching)


def look_failed(watch: W, now: float) -> W:
    """What is watched did not answer: it is looked at again after a growing while."""
    wait = DOWN_SECONDS[min(watch.failures, len(DOWN_SECONDS) - 1)]
    since = watch.failing_since or now
    return replace(watch, failing_since=since, failures=watch.failures + 1, not_before=now + wait)


def answered(watch: W, seconds: float, now: float) -> W:
    """What is watched answered, after so many seconds."""
    return replace(watch, failing_since=0.0, failures=0, not_before=now + seconds * (1 / SHARE - 1))


def clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
