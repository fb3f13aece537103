"""The bar on every page that says how far its numbers can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from html import escape

from classic_cars.dashboard import markup
from classic_cars.dashboard.trust import Proof, difference, verdict
from classic_cars.dashboard.wordings import exact
from classic_cars.serving.releases import Release, age, last_proven

#: Failed checks that are named.
NAMED = 3


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


def _troubles(known: Proof, pending: str) -> Iterator[str]:
    if known.differs:
        yield f'<p class="cc-bad">{escape(known.latest)}</p>'
    if known.failed:
        more = f" and {len(known.failed) - NAMED} more" if len(known.failed) > NAMED else ""
        yield (
            f'<p class="cc-bad">Failed: {escape(", ".join(known.failed[:NAMED]))}{more}. What is shown is the release '
            'before, which passed. <a href="quality" target="_self">Data quality</a> has the details.</p>'
        )
    if pending:
        yield (
            '<details class="cc-warning"><summary>Newer tables are not shown yet: a run is at work, or '
            f"they do not agree</summary>{escape(pending)}</details>"
        )
