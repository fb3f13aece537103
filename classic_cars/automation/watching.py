"""What polling sensors have in common: a small versioned cursor, budget, backoff. Pure: no clock, no Dagster."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from classic_cars.errors import SourceError

#: Of the cursors' form: a cursor of another one is forgotten. What was seen is in Dagster's history, not in cursors.
VERSION = 4

#: The budget: the share of the time that polls may take, on average. A poll that took 2 s is paid off after 40 s.
SHARE = 0.05
#: Seconds of polls that may be unpaid when the next one begins, so that after a quiet time a change is polled at once.
BURST_SECONDS = 10.0
#: Seconds until what was not read is asked for again; the last one for ever.
RETRY_SECONDS = (60.0, 300.0, 900.0, 3600.0)
#: Seconds by which clocks are put right all the time; by more, what was noted is of another time.
CLOCK_STEP_SECONDS = 10.0
#: Seconds between polls of something that cannot be read; the last one for ever, so that its recovery is soon known.
DOWN_SECONDS = (10.0, 20.0)


@dataclass(frozen=True)
class PollState:
    """Part of a sensor's cursor. Times are seconds since 1970.

    Alerts read ``failing_since``, ``trouble`` and ``cause``: a sensor whose cursor has them does not see what it is to
    watch.
    """

    not_before: float = 0.0
    #: When all polls are paid off.
    paid_off: float = 0.0
    failing_since: float = 0.0
    failures: int = 0
    #: What is wrong in a few words, such as "order system: schema changed", and all that is known of it.
    trouble: str = ""
    cause: str = ""
    #: How often what is pending was asked for again, and when it will be next.
    retries: int = 0
    retry_at: float = 0.0
    #: When it was looked at last.
    seen: float = 0.0

    def at(self, now: float) -> Self:
        """The state at a tick. A new one when the clock was put back: in the other, nothing is due before that time."""
        return replace(self if self.seen <= now + CLOCK_STEP_SECONDS else type(self)(), seen=now)

    def dump(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def load(cls, cursor: str | None) -> Self:
        """The state that was dumped; a new one when there is none, or it has another form."""
        try:
            found = json.loads(cursor or "")
            return cls(**cls.revived(found)) if found.pop("version") == VERSION else cls()
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    @classmethod
    def revived(cls, found: dict[str, Any]) -> dict[str, Any]:
        """The fields as they were before they became JSON."""
        return found


W = TypeVar("W", bound=PollState)


def poll_failed(watch: W, now: float, place: str, error: SourceError) -> W:
    """What is watched (``place``) could not be read: it is polled again after a while."""
    wait = DOWN_SECONDS[min(watch.failures, len(DOWN_SECONDS) - 1)]
    since = watch.failing_since or now
    found = replace(watch, failing_since=since, failures=watch.failures + 1, not_before=now + wait)
    return replace(found, trouble=f"{place}: {error.title}", cause=str(error))


def answered(watch: W, seconds: float, now: float) -> W:
    """What is watched answered, after so many seconds."""
    paid_off = max(watch.paid_off, now - seconds) + seconds / SHARE
    return replace(recovered(watch), paid_off=paid_off)


def recovered(watch: W) -> W:
    """What is watched was read, and that is all that is known."""
    return replace(watch, not_before=0.0, failing_since=0.0, failures=0, trouble="", cause="")


def failing(watch: PollState) -> str:
    """What is wrong with what is watched, for people; empty when nothing is."""
    if not watch.failing_since:
        return ""
    since, again = clock(watch.failing_since), clock(watch.not_before)
    return f"{watch.trouble}, since {since}: {watch.cause}; polls again at {again}"


def affordable_at(watch: PollState) -> float:
    """When the next poll may begin: until then too many seconds of polls are unpaid."""
    return watch.paid_off - BURST_SECONDS / SHARE


def awaiting(watch: W, now: float, *, pending: bool) -> W:
    """Whether something that was observed is still to be read: then it is asked for again, later."""
    if not pending:
        return replace(watch, retries=0, retry_at=0.0)
    return watch if watch.retry_at else replace(watch, retry_at=now + RETRY_SECONDS[0])


def is_due(watch: PollState, now: float) -> bool:
    """Whether it is time to ask again for what is pending."""
    return 0 < watch.retry_at <= now


def requeued(watch: W, now: float) -> W:
    """What is pending was asked for again: the next time is later."""
    retries = watch.retries + 1
    return replace(watch, retries=retries, retry_at=now + RETRY_SECONDS[min(retries, len(RETRY_SECONDS) - 1)])


def clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def due_now(watch: W, now: float) -> W:
    """What hindered reading is over: what is pending is asked for again at once."""
    return replace(watch, retries=0, retry_at=now)
