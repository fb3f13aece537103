"""PostgreSQL on Dagster's web page: an asset downstream of the release, and the check that it holds the current one.

Whoever has no such PostgreSQL does not wait for its driver to load: it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.errors import ClassicCarsError
from classic_cars.serving import release_asset
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store

if TYPE_CHECKING:
    from classic_cars.serving.postgresql.refresh import Refreshed

KEY = dg.AssetKey(["serving", "postgresql"])
CHECK = dg.AssetCheckKey(KEY, "holds_current_release")


def postgresql_spec() -> dg.AssetSpec:
    """The asset: what BI tools read."""
    return dg.AssetSpec(
        key=KEY,
        deps=[release_asset.KEY],
        description="The tables of the current release in PostgreSQL, for BI tools. Changed in one transaction after "
        "each new release; when that fails, the release before stays there.",
        group_name=KEY.path[0],
        tags={"layer": KEY.path[0]},
    )


def postgresql_check(settings: Settings) -> Any:
    """Whether PostgreSQL holds the current release; can be executed at any time."""

    @dg.asset_check(asset=KEY, name=CHECK.name, description="PostgreSQL holds the current release")
    def holds_current_release() -> dg.AssetCheckResult:
        try:
            wrong = lagging(settings)
        except ClassicCarsError as error:
            wrong = str(error)
        return dg.AssetCheckResult(passed=not wrong, description=wrong or "PostgreSQL holds the current release")

    return holds_current_release


def lagging(settings: Settings) -> str:
    """Why PostgreSQL does not hold the current release; empty when it does. Raises ``ServingError``, ``StoreError``."""
    from classic_cars.serving.postgresql.connection import Server
    from classic_cars.serving.postgresql.refresh import held_release
    from classic_cars.serving.postgresql.standing import behind

    shelf = open_store(settings, read_only=True).shelf
    return behind(shelf, held_release(Server.of(settings)))


def serve_release(
    url: str,
    timeout: float,
    store: Store,
    contracts: Iterable[Contract],
    instance: dg.DagsterInstance,
    *,
    take_over: bool = False,
    brief: bool = True,
) -> tuple[Refreshed | None, str]:
    """Bring PostgreSQL to the current release, and record what came of it; what went wrong, if anything did.

    ``timeout``: seconds to wait for it to answer; ``take_over`` as in ``refresh``; ``brief``: within a run, which
    does not wait long. Never raises: the release stays
    whatever becomes of PostgreSQL.
    """
    from classic_cars.serving.postgresql.connection import Server
    from classic_cars.serving.postgresql.patience import BRIEF, PATIENT
    from classic_cars.serving.postgresql.refresh import refresh

    done, wrong = None, ""
    try:
        done = refresh(
            Server.parse(url, timeout), store, contracts, take_over=take_over, patience=BRIEF if brief else PATIENT
        )
    except ClassicCarsError as error:
        wrong = str(error)
    except Exception as error:
        # Its text may hold values.
        wrong = f"unexpected {type(error).__name__} while PostgreSQL was brought to the release"
    _recorded(instance, done, wrong)
    return done, wrong


def _recorded(instance: dg.DagsterInstance, done: Refreshed | None, wrong: str) -> None:
    from classic_cars.serving.postgresql.standing import HEAL, TAKE_OVER

    said = f"{wrong}; it holds what it held; {HEAL}" if wrong and TAKE_OVER not in wrong else wrong
    if done is not None:
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=_metadata(done)))
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=KEY,
            check_name=CHECK.name,
            passed=not wrong,
            metadata={},
            severity=dg.AssetCheckSeverity.ERROR,
            description=said or (done.line() if done else "no release"),
        )
    )


def not_served(instance: dg.DagsterInstance) -> str:
    """What went wrong when a release was last brought to PostgreSQL; empty when nothing did, or none was."""
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK]).get(CHECK)
    evaluation = record.evaluation if record is not None else None
    return "" if evaluation is None or evaluation.passed else str(evaluation.description)


def _metadata(done: Refreshed) -> dict[str, Any]:
    return {
        "release": done.release.number,
        "tables changed": len(done.tables),
        "rows written": sum(done.tables.values()),
        "seconds": round(done.seconds, 3),
        "summary": done.line(),
    }
