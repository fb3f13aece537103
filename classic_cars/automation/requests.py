"""What is asked for at one tick, as few runs: contiguous ranges of the months that there are. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import dagster as dg

from classic_cars.months import UNDATED, month_of, partition_key
from classic_cars.tables.run_tags import range_tags

NO_DATE = partition_key(UNDATED)
#: Tag of a run: what it was asked for, in words; a name stands for the tables of all layers that have it.
CHANGED = "classic_cars/changed"
#: A run costs seconds however little it makes: months that are no further apart are one range, with those between ...
NEAR = 3
#: ... and of more ranges than this, those nearest to each other become one.
RANGES = 4


def ranges(
    existing: Sequence[str],
    wanted: set[str],
    at_most: int = RANGES,
    together: Iterable[tuple[str, str]] = (),
    apart: Collection[str] = (),
) -> list[tuple[str, str]]:
    """The first and the last month of each range of ``existing`` months, in order, that together hold ``wanted``.

    ``together``: pairs of months that must be in the same range. ``apart``: months that are in no range with others
    than their like that are wanted, however many ranges that makes.
    """
    spans = [sorted(map(existing.index, pair)) for pair in together]
    found: list[list[int]] = []

    def may_join(first: int, last: int) -> bool:
        between = existing[first : last + 1]
        return not any(month in apart for month in between) or all(
            month in apart and month in wanted for month in between
        )

    for position in [index for index, month in enumerate(existing) if month in wanted]:
        joined = found and any(first <= found[-1][1] and position <= last for first, last in spans)
        if found and (position - found[-1][1] <= NEAR or joined) and may_join(found[-1][1], position):
            found[-1][1] = position
        else:
            found.append([position, position])
    while len(found) > at_most:
        gaps = [index for index in range(1, len(found)) if may_join(found[index - 1][1], found[index][0])]
        if not gaps:
            break
        nearest = min(gaps, key=lambda index: found[index][0] - found[index - 1][1])
        found[nearest - 1 : nearest + 1] = [[found[nearest - 1][0], found[nearest][1]]]
    return [(existing[first], existing[last]) for first, last in found]


def run_requests(
    requests: Sequence[dg.RunRequest],
    existing: Sequence[str],
    tags: Mapping[str, str],
    *,
    each_time: Collection[dg.AssetKey] = (),
    at_most: int = RANGES,
    moved: Collection[tuple[str, str]] = (),
    apart: Collection[str] = (),
) -> list[dg.RunRequest]:
    """One run for each of ``at_most`` ranges of months, with all tables that any of its months is wanted of.

    Tables without months are made in the last one, when all months were; those of ``each_time``, which others with
    months are made of, in each. ``moved``: of which month a row was, and of which it is: it is in both, or in none,
    unless one run makes both. ``apart``: months that may fail, and would hold up those that are made with them.
    """
    whole = {key for each in requests if each.partition_key is None for key in each.asset_selection or []}
    by_month: dict[str, set[dg.AssetKey]] = {}
    for each in requests:
        if each.partition_key is not None:
            by_month.setdefault(each.partition_key, set()).update(each.asset_selection or [])
    found = []
    spans = _in_order(existing, set(by_month), at_most, moved, apart)
    for index, (first, last) in enumerate(spans):
        dated = {key for month, keys in by_month.items() if first <= month <= last for key in keys}
        rest = whole if index == len(spans) - 1 else whole & {*each_time}
        found.append(_run_request(dated, rest, tags, first, last))
    return found or ([_run_request(set(), whole, tags)] if whole else [])


def _in_order(
    existing: Sequence[str],
    wanted: set[str],
    at_most: int,
    moved: Collection[tuple[str, str]],
    apart: Collection[str],
) -> list[tuple[str, str]]:
    """The ranges, as they are to be made. Rows without a date widen no run: what moves is made where it is now first.

    Only where it is so both ways, one run makes both. Months between which rows moved would fail by themselves, too.
    """
    together = [pair for pair in moved if NO_DATE not in pair]
    apart = {*apart}.difference(*together)
    lose_it = {was for was, now in moved if now == NO_DATE}
    have_it = {now for was, now in moved if was == NO_DATE}
    spans = ranges(existing, wanted, at_most, together, apart)
    both_ways = [span for span in spans if _any_in(span, lose_it) and _any_in(span, have_it)]
    if both_ways:
        together += [(NO_DATE, last) for _, last in both_ways]
        spans = ranges(existing, wanted, at_most, together, apart.difference(*together))
    return sorted(spans, key=lambda span: not _any_in(span, have_it))


def _any_in(span: tuple[str, str], months: Collection[str]) -> bool:
    return any(span[0] <= month <= span[1] for month in months)


def _run_request(
    dated: set[dg.AssetKey], whole: set[dg.AssetKey], tags: Mapping[str, str], first: str = "", last: str = ""
) -> dg.RunRequest:
    months = f" {first}" if first == last else f" {first}..{last}"
    names = {f"{key.path[-1]}{months}" for key in dated} | {key.path[-1] for key in whole}
    return dg.RunRequest(
        asset_selection=sorted(dated | whole),
        tags={
            **tags,
            CHANGED: ", ".join(sorted(names)),
            **(range_tags(month_of(first), month_of(last)) if first else {}),
        },
    )
