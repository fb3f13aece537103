"""Why the numbers can be believed: the release, and the last proof against the live order system."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.dashboard.markup import BAD, GOOD, NEUTRAL, WARNING
from classic_cars.instance import open_instance
from classic_cars.serving.releases import Release, last_proven
from classic_cars.serving.status import Outcome, latest_checks
from classic_cars.settings import Settings
from classic_cars.tables.live_agreement import CHECK, last_agreement


@dataclass(frozen=True)
class Proof:
    """What Dagster's history knows. ``agreed``: when the data last equalled the live order system; ``latest``: what the
    last comparison said; ``failed`` and ``warned``: checks as they are now, as ``table: check``."""

    agreed: datetime | None = None
    latest: str = ""
    differs: bool = False
    failed: tuple[str, ...] = field(default=())
    warned: tuple[str, ...] = field(default=())


def proof(settings: Settings) -> Proof:
    """Raises ``StoreUnavailable`` when the history cannot be read; nothing is made where there is none."""
    if not settings.dagster_home.exists():
        return Proof()
    with open_instance(settings) as instance:
        checks = latest_checks([each.contract for each in ALL_TABLES], instance)
        said, differs = _latest(instance)
        return Proof(
            last_agreement(instance), said, differs, _that(checks, Outcome.FAILED), _that(checks, Outcome.WARNING)
        )


def _latest(instance: dg.DagsterInstance) -> tuple[str, bool]:
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK]).get(CHECK)
    evaluation = record.evaluation if record is not None else None
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return "", False
    return evaluation.description or "", not evaluation.passed


def _that(checks: dict[str, dict[str, Outcome]], wanted: Outcome) -> tuple[str, ...]:
    return tuple(
        f"{address}: {name}"
        for address, each in sorted(checks.items())
        for name, outcome in sorted(each.items())
        if outcome is wanted
    )


def difference(release: Release) -> Decimal:
    """Amount of order lines and payments that source has and the release has not, nor quarantine; 0.00 as promised."""
    return sum(
        (each.source.amount - each.published.amount - each.quarantined.amount for each in release.balances),
        Decimal("0.00"),
    )


def verdict(release: Release, known: Proof, pending: str) -> tuple[str, str]:
    """The whole in a word, and its kind: one of ``markup``'s."""
    if known.differs or difference(release) or not all(each.balanced for each in release.balances):
        return BAD, "Differs from the order system"
    if known.failed:
        return BAD, f"{len(known.failed)} failed {'check' if len(known.failed) == 1 else 'checks'}"
    compared = last_proven(release, known.agreed, pending) is not None
    if pending or any(each.quarantined.rows for each in release.balances):
        return WARNING, f"{'Proven' if compared else 'Equal to what was read'}, with something held back"
    if not compared:
        return NEUTRAL, "Equal to what was read"
    return GOOD, "Proven equal to the order system"
