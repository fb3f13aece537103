"""The sensor that notices files at the landing place and asks for a run that takes them in.

It looks, decides (:mod:`classic_cars.automation.landing_changes`) and asks for ``source/ratings`` only. What is made
from it follows by itself.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import dagster as dg

from classic_cars.automation import landing_changes
from classic_cars.automation.landing_changes import Outcome, Watch
from classic_cars.errors import SourceError
from classic_cars.settings import Settings
from classic_cars.sources.landing import Landing

SENSOR = "landed_files"
TICK_SECONDS = 10
RATINGS = dg.AssetKey(["source", "ratings"])
#: Tag of runs that read from outside; its value is the sensor's name.
READS = "classic_cars/reads"

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def landing_sensor(settings: Settings, landing: Landing | None = None) -> dg.SensorDefinition:
    """Asks for runs of ``source/ratings`` when complete files lie at the landing place that were not there before."""
    place = landing or Landing(settings.landing_location)

    @dg.sensor(
        name=SENSOR,
        target=dg.AssetSelection.assets(RATINGS),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lists the landing place and has new files taken in; those still being written are left alone.",
    )
    def landed_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch, key, reason = tick(Watch.load(context.cursor, time.time()), place, context.instance, time.time())
        requests = [dg.RunRequest(run_key=key, asset_selection=[RATINGS], tags={READS: SENSOR})] if key else []
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if key else dg.SkipReason(reason), cursor=watch.dump()
        )

    return landed_files


def tick(watch: Watch, landing: Landing, instance: dg.DagsterInstance, now: float) -> tuple[Watch, str | None, str]:
    """One tick: the new watch, the key of the run to ask for, and in words why there is none."""
    if watch.asked:
        outcome = _outcome(instance, watch.asked)
        if outcome is Outcome.UNFINISHED:
            return watch, None, "waits for the run that it asked for"
        watch = landing_changes.ended(watch, outcome, now)
    if now < watch.not_before:
        return watch, None, f"{_trouble(watch)}looks again at {_clock(watch.not_before)}"
    try:
        listing = landing.list(now)
    except SourceError as error:
        watch = landing_changes.look_failed(watch, now)
        return watch, None, f"{_trouble(watch)}{error}; looks again at {_clock(watch.not_before)}"
    watch, key = landing_changes.looked(watch, listing.files)
    waiting = f"; {listing.unsettled:,} are still being written" if listing.unsettled else ""
    return watch, key, f"no new file among {len(listing.files):,}{waiting}"


def _outcome(instance: dg.DagsterInstance, key: str) -> Outcome:
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": key}), limit=1)
    if not runs or runs[0].status == dg.DagsterRunStatus.FAILURE:
        return Outcome.FAILED
    return Outcome.UNFINISHED if runs[0].status in UNFINISHED else Outcome.DONE


def _trouble(watch: Watch) -> str:
    if watch.failing_since:
        return f"the landing place cannot be reached since {_clock(watch.failing_since)}: "
    if watch.failed_requests:
        return f"{watch.failed_requests} runs in a row failed; "
    return ""


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
