"""Faults to practise with: planted in a shop that the simulator made, removed as if they had never been there.

Each is something that happens to order systems. What was planted is remembered in the shop, row by row, so that
another process can mend it, days later, and mends nothing else. Everything is done in the database's own SQL, in one
transaction where it has such; MySQL commits at every change of a table's form, so there the note is written first and
mending can be done twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import database
from classic_cars_shop.fault_kinds import AWAY, KINDS, Kind, planted_rows
from classic_cars_shop.ownership import look, owned, planted

#: Faults in rows that life in the shop would heed, in the order in which they are planted again: late orders copy
#: negative quantities, too. Nobody asks for the lines of orders that do not exist.
HEEDED = ("negatives", "late", "duplicates")


def break_shop(url: str, kind: str) -> tuple[Kind, int]:
    """Plant a fault; the kind and the number of rows that were added or changed.

    Raises ``ShopRefused`` when the shop was not made by the simulator, this fault is planted already, or an outage is.
    """
    source = SourceURL.parse(url)
    found = KINDS[kind]
    refuse_during_outage(source)
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        refuse_during_outage(source, connection)
        mark = owned(source, look(connection))
        planted.create(connection, checkfirst=True)
        if kind in _kinds(connection):
            raise ShopRefused(f"{source}: {kind} is planted already; `classic-cars shop mend {kind}` removes it")
        if kind == "outage" and source.is_sqlite:
            rows = 0
        else:
            connection.execute(planted.insert().values(kind=kind, number=0, code=""))
            found.note(connection, mark)
            found.plant(connection)
            rows = planted_rows(connection, kind)
    if kind == "outage" and source.is_sqlite:
        source.path.rename(_away(source))
    return found, rows


def mend_shop(url: str, kind: str | None = None) -> list[str]:
    """Remove one fault, or all that are planted; their kinds. Raises ``ShopRefused`` when it is not planted."""
    source = SourceURL.parse(url)
    mended = []
    if _is_file_away(source):
        if kind not in (None, "outage"):
            refuse_during_outage(source)
        if source.path.exists():
            raise ShopRefused(
                f"{source}: there is another shop by now, and the one of before the outage is {_away(source).name} "
                "beside it; nothing was changed. Move one of them away"
            )
        _away(source).rename(source.path)
        mended.append("outage")
        if kind == "outage":
            return mended
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        there = _kinds(connection)
        if kind is not None and kind not in there:
            raise ShopRefused(f"{source}: {kind} is not planted; planted: {', '.join(there) or 'nothing'}")
        if kind not in (None, "outage"):
            refuse_during_outage(source, connection)
        # Tables come back first.
        for each in sorted(there, key=list(KINDS).index, reverse=True) if kind is None else [kind]:
            KINDS[each].mend(connection)
            connection.execute(sa.delete(planted).where(planted.c.kind == each))
            mended.append(each)
    return mended


def refuse_during_outage(source: SourceURL, connection: sa.Connection | None = None) -> None:
    """Raises ``ShopRefused`` while an outage is planted: a file moved away, or, with ``connection``, tables."""
    if _is_file_away(source) or (connection is not None and "outage" in _kinds(connection)):
        raise ShopRefused(f"{source}: an outage is planted; first `classic-cars shop mend outage`")


def refuse_while_drifted(source: SourceURL, connection: sa.Connection) -> None:
    """Raises ``ShopRefused`` while a column is renamed: time cannot pass."""
    if "drift" in _kinds(connection):
        raise ShopRefused(f"{source}: drift is planted, so the shop cannot work; first `classic-cars shop mend drift`")


@contextmanager
def faults_set_aside(connection: sa.Connection) -> Iterator[None]:
    """Meanwhile the rows are such that life goes on as if no fault were planted; afterwards all are planted again.

    Late orders are then copied again from those that they came from, as those are by now. For the middle of a
    transaction: when the block fails, nothing is planted again.
    """
    there = [kind for kind in HEEDED if kind in _kinds(connection)]
    for kind in reversed(there):
        KINDS[kind].mend(connection)
    yield
    for kind in there:
        KINDS[kind].plant(connection)


def _kinds(connection: sa.Connection) -> list[str]:
    if not sa.inspect(connection).has_table(planted.name):
        return []
    return list(connection.scalars(sa.select(planted.c.kind).where(planted.c.number == 0)))


def _away(source: SourceURL) -> Path:
    return source.path.with_name(f"{source.path.name}{AWAY}")


def _is_file_away(source: SourceURL) -> bool:
    return source.is_sqlite and _away(source).exists()
