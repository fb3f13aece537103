"""The bar on every page that says how far its numbers can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape

from classic_cars.dashboard import markup
from classic_cars.dashboard.trust import Proof, difference, verdict
from classic_cars.dashboard.wordings import exact
from classic_cars.serving.releases import Release, age, last_proven
from classic_cars.serving.status import SCHEDULED

#: Failed checks that are named.
NAMED = 3
#: How comparisons of what is published end, among failed checks.
_SCHEDULED = tuple(f": {each}" for each in SCHEDULED)


def bar(release: Release, through: str, known: Proof, pending: str, now: datetime | None = None) -> str:
    """``through``: the last day of an order. ``pending``: why newer tables are not released.

    On a phone it is two lines: the verdict, and one that opens to all that is said on a wide screen.
    """
    kind, word = verdict(release, known, pending)
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _facts(release, through, known, pending, now)
    )
    whole = f"<dl>{facts}</dl>{''.join(_troubles(known, pending))}"
    in_short = f"Release {release.number}, {age(release.made, now)} ago · difference {_money(difference(release))}"
    return (
        f'<section class="cc-trust" aria-label="How far these numbers can be trusted">{markup.pill(kind, word)}'
        f'<div class="cc-whole">{whole}</div>'
        f'<details class="cc-short"><summary>{escape(in_short)}</summary>{whole}</details></section>'
    )


def _facts(
    release: Release, through: str, known: Proof, pending: str, now: datetime | None
) -> Iterator[tuple[str, str]]:
    lines = release.order_lines
    if through:
        yield "Orders through", through
    yield "Data as of", f"release {release.number}, {age(release.made, now)} ago"
    yield "Order lines compared", f"{lines.source.rows:,} · {_money(lines.source.amount)}"
    yield "Difference", _money(difference(release))
    for each in release.balances:
        if each.quarantined.rows:
            yield f"Quarantined {each.subject}", f"{each.quarantined.rows:,} · {_money(each.quarantined.amount)}"
    agreed = last_proven(release, known.agreed, pending)
    yield "Equal to the live system", f"closed months, {agreed:%Y-%m-%d %H:%M} UTC" if agreed else "not compared yet"
    yield "Failed checks", str(len(known.failed))


def _money(amount: Decimal) -> str:
    return exact(amount, ",.2f")


def _failed(checks: Sequence[str], meaning: str) -> str:
    more = f" and {len(checks) - NAMED} more" if len(checks) > NAMED else ""
    return (
        f'<p class="cc-bad">Failed: {escape(", ".join(checks[:NAMED]))}{more}. {meaning} '
        '<a href="quality" target="_self">Data quality</a> has the details.</p>'
    )


def _troubles(known: Proof, pending: str) -> Iterator[str]:
    if known.differs:
        yield f'<p class="cc-bad">{escape(known.latest)}</p>'
    nightly = [each for each in known.failed if each.endswith(_SCHEDULED)]
    others = [each for each in known.failed if each not in nightly]
    if others:
        yield _failed(others, "What is shown is the release before, which passed.")
    if nightly:  # of what is published: nothing was refused
        yield _failed(
            nightly, f"{'The newest tables' if pending else 'The numbers shown'} did not pass this comparison."
        )
    if pending:
        yield (
            '<details class="cc-warning"><summary>Newer tables are not shown yet: a run is at work, or '
            f"they do not agree</summary>{escape(pending)}</details>"
        )
