"""A release of what several runs published, or an earlier one could not make: its disk was full, it was killed.

And PostgreSQL that holds an older one: it was away.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import dagster as dg

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.errors import ClassicCarsError, StoreBusy, StoreError
from classic_cars.serving.postgresql.asset import lagging, serve_release
from classic_cars.serving.release_asset import record_release
from classic_cars.settings import Settings
from classic_cars.stores import open_store

MADE_BY = "classic-cars run"


def release_what_is_published(
    settings: Settings, contracts: Sequence[Contract], instance: dg.DagsterInstance, run_id: str = ""
) -> str:
    """Make a release of what is published, unless it is one already; returns what broke meanwhile, mostly nothing.

    ``run_id``: the run that published last, after which a writer is waited for; without one whoever writes to the store
    now makes a release anyway.
    """
    store = open_store(settings if run_id else settings.model_copy(update={"store_wait": 0.0}))
    try:
        store.begin_run(f"run {run_id}" if run_id else MADE_BY)
        if not store.row_counts().keys() & {each.address for each in contracts if each.layer in RELEASED}:
            return ""
        outcome = record_release(store, contracts, instance, run_id or MADE_BY)
    except StoreError as error:
        return f"no release was made: {error}" if run_id or not isinstance(error, StoreBusy) else ""
    finally:
        store.end_run()
    return f"no release was made: {'; '.join(outcome.reasons)}" if outcome.failed else ""


def serve_what_is_released(settings: Settings, contracts: Sequence[Contract], instance: dg.DagsterInstance) -> str:
    """Bring PostgreSQL to the current release, unless it holds it; returns what went wrong, mostly nothing."""
    url = settings.serving_url.get_secret_value()
    if not url:
        return ""
    with suppress(ClassicCarsError):  # whoever asks again says why, and records it
        if not lagging(settings):
            return ""
    store = open_store(settings, read_only=True)
    return serve_release(url, settings.connect_timeout, store, contracts, instance)[1]
