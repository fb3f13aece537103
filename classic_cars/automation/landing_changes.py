"""What the sensor of landed files remembers and decides. Pure: no files, no Dagster, no clock.

What lies at the landing place is seen as one digest, so that the cursor is small however many files there are.
Which of them are new, the run finds out from its ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from classic_cars.automation.watching import RETRY_SECONDS, VERSION, Watching, answered
from classic_cars.sources.landing import LandedFile


@dataclass(frozen=True)
class Watch(Watching):
    """The sensor's cursor."""

    #: What lay there when a run was last asked for.
    known: str = ""
    #: Key of a run that was asked for and may not be finished.
    asked: str = ""


def digest(files: Iterable[LandedFile]) -> str:
    """Differs when a name, a size or a version differs."""
    return hashlib.blake2b(json.dumps(sorted(each.identity for each in files)).encode(), digest_size=16).hexdigest()


def ended(watch: Watch, now: float, *, again: bool) -> Watch:
    """The run that was asked for is over; one that did not do it all is asked for ``again``, each time later."""
    if not again:
        return replace(watch, asked="", failed_requests=0)
    wait = RETRY_SECONDS[min(watch.failed_requests, len(RETRY_SECONDS) - 1)]
    return replace(watch, asked="", known="", failed_requests=watch.failed_requests + 1, not_before=now + wait)


def looked(watch: Watch, files: Iterable[LandedFile], seconds: float, now: float) -> tuple[Watch, str | None]:
    """What follows from a look that took ``seconds``: the new watch, and the key of the run to ask for, if any.

    The first look asks in any case: a table without rows is an answer too, and other tables need it.
    """
    watch = answered(watch, seconds, now)
    seen = digest(files)
    if seen == watch.known:
        return watch, None
    key = f"landed_files-v{VERSION}-{watch.began:.0f}-{watch.requests}"
    return replace(watch, known=seen, asked=key, requests=watch.requests + 1), key
