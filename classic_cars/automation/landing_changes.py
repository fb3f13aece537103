"""What the sensor of landed files remembers and decides. Pure: no files, no Dagster, no clock.

What lies at the landing place is seen as one digest, so that the cursor is small however many files there are.
Which of them are new, the run finds out from its ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import Enum

from classic_cars.sources.landing import LandedFile

#: Of the cursor's form and of the run keys, which are remembered for ever.
VERSION = 1

#: Seconds until a run that failed is asked for again; the last one again and again.
RETRY_SECONDS = (60.0, 300.0, 900.0, 3600.0)
#: Seconds between looks at a place that cannot be reached.
DOWN_SECONDS = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


class Outcome(Enum):
    """What became of the run that was asked for; one that nobody knows of has failed."""

    UNFINISHED = "unfinished"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Watch:
    """The sensor's cursor. Times are seconds since 1970."""

    #: When the watch began; part of every run key.
    began: float
    requests: int = 0
    #: What lay there when a run was last asked for.
    known: str = ""
    #: Key of a run that was asked for and may not be finished.
    asked: str = ""
    failed_requests: int = 0
    not_before: float = 0.0
    failures: int = 0
    failing_since: float = 0.0

    def dump(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def load(cls, cursor: str | None, now: float) -> Watch:
        """The watch that was dumped; a new one when there is none, or it has another form."""
        try:
            found = json.loads(cursor or "")
            return cls(**found) if found.pop("version") == VERSION else cls(now)
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls(now)


def digest(files: Iterable[LandedFile]) -> str:
    """Differs when a name, a size or a version differs."""
    return hashlib.blake2b(json.dumps(sorted(each.identity for each in files)).encode(), digest_size=16).hexdigest()


def ended(watch: Watch, outcome: Outcome, now: float) -> Watch:
    """The run that was asked for is over; one that failed is asked for again, each time a while later."""
    if outcome is not Outcome.FAILED:
        return replace(watch, asked="", failed_requests=0)
    wait = RETRY_SECONDS[min(watch.failed_requests, len(RETRY_SECONDS) - 1)]
    return replace(watch, asked="", known="", failed_requests=watch.failed_requests + 1, not_before=now + wait)


def look_failed(watch: Watch, now: float) -> Watch:
    """The place cannot be reached: it is looked at again after a growing while."""
    wait = DOWN_SECONDS[min(watch.failures, len(DOWN_SECONDS) - 1)]
    since = watch.failing_since or now
    return replace(watch, failures=watch.failures + 1, failing_since=since, not_before=now + wait)


def looked(watch: Watch, files: Iterable[LandedFile]) -> tuple[Watch, str | None]:
    """The place was looked at: the new watch, and the key of the run to ask for if there is something new."""
    files = list(files)
    watch = replace(watch, failures=0, failing_since=0.0, not_before=0.0)
    seen = digest(files)
    if not files or seen == watch.known:
        return watch, None
    key = f"landed_files-v{VERSION}-{watch.began:.0f}-{watch.requests}"
    return replace(watch, known=seen, asked=key, requests=watch.requests + 1), key
