"""The transaction that brings PostgreSQL from the release that it holds to another one.

Readers see the one or the other, whole, and wait for nobody: rows are removed and added, tables are neither dropped
nor emptied. Before the commit each table that changed is compared with the release, rows and cents.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import errors

from classic_cars.contracts.base import Contract
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import held, reader, rows, shape, standing
from classic_cars.serving.postgresql.connection import Connection, Server, connected, said
from classic_cars.serving.postgresql.patience import PATIENT, Patience, alone
from classic_cars.serving.postgresql.shape import Shape
from classic_cars.serving.releases import Release, opened_in
from classic_cars.stores.base import Pinned, Store
from classic_cars.stores.pins import changed
from classic_cars.stores.sql import quoted
from classic_cars.wording import counted

progress = logging.getLogger("classic_cars.progress")

#: Whatever the role or the database say. Names of the catalog's definitions come with their schemas.
SESSION = (
    "SET TRANSACTION READ WRITE",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL search_path = pg_catalog",
    "SET LOCAL classic_cars.refreshing = 'on'",
    # A month is compared, and an index built, without temporary files.
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL maintenance_work_mem = '256MB'",
)


@dataclass(frozen=True)
class Refreshed:
    """What was done: by address, rows removed or added in PostgreSQL (of tables that changed), and how long it took."""

    release: Release
    place: str
    tables: Mapping[str, int]
    seconds: float

    def line(self) -> str:
        done = f"{counted(len(self.tables), 'table')} changed, {counted(sum(self.tables.values()), 'row')} written"
        return f"{self.place} holds release {self.release.number}: {done} in {self.seconds:.1f} s"


def refresh(
    server: Server,
    store: Store,
    contracts: Iterable[Contract],
    *,
    take_over: bool = False,
    patience: Patience = PATIENT,
) -> Refreshed | None:
    """Bring PostgreSQL to the current release; None when none was made yet.

    ``take_over``: in place of another home's release, too.
    Raises ``ServingError`` when PostgreSQL refuses, and ``StoreError`` when the release cannot be read: PostgreSQL then
    holds what it held.
    """
    started = time.perf_counter()
    with connected(server, patience.longest) as connection:
        for each in SESSION:
            connection.execute(each)
        alone(connection, patience.turn)
        with opened_in(store) as current:
            if current is None:
                return None
            release, tables = current
            if not take_over:
                _must_be_of_this_home(connection, store)
            with _strange_references_named(server, contracts := [each for each in contracts if tables.exists(each)]):
                written = _brought(connection, release, tables, contracts)
    done = Refreshed(release, str(server), written, time.perf_counter() - started)
    progress.info("%s", done.line())
    return done


@contextmanager
def _strange_references_named(server: Server, contracts: Iterable[Contract]) -> Iterator[None]:
    """Tables of the users' may refer to the platform's, until rows go that they refer to."""
    try:
        yield
    except errors.ForeignKeyViolation as error:
        layer, name = error.diag.schema_name, error.diag.table_name
        if f"{layer}/{name}" in {each.address for each in contracts}:
            raise
        raise ServingError(
            f"{server}: {said(error)}; {layer}.{name} is a table of yours, and refers to rows that the release no "
            f"longer has: drop its foreign key {error.diag.constraint_name}, or remove its rows that refer to them"
        ) from None


def held_release(server: Server) -> held.Holding | None:
    """The release that PostgreSQL holds; None when it holds none. Raises ``ServingError``."""
    with connected(server) as connection:
        return held.holding(connection)


def _brought(connection: Connection, release: Release, tables: Pinned, contracts: list[Contract]) -> dict[str, int]:
    reader_is_new = _set_up(connection, {each.layer for each in contracts})
    known = held.all_marks(connection)
    addresses = {each.address: each for each in contracts}
    there = shape.found(connection, addresses)
    _must_be_ours(there, known)
    wants = {each.address: shape.wanted(each, addresses) for each in contracts}
    made = [each for each in contracts if each.address not in there]
    new = _prepared(connection, contracts, wants, there, known.keys() - addresses.keys())
    reader.granted(connection, *((contracts, ()) if reader_is_new else (made, there)))
    written = {}
    for contract in contracts:
        marks, before = tables.marks(contract), known.get(contract.address)
        if contract.address in new:
            written[contract.address] = rows.filled(connection, contract, tables)
        elif parts := changed(marks, before):
            written[contract.address] = rows.merged(connection, contract, tables, parts)
        else:
            continue
        held.remember(connection, contract.address, marks)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    _finished(connection, contracts, wants)
    _must_be_equal(connection, tables, [addresses[each] for each in written])
    holding = held.holding(connection)
    if holding is None or not standing.is_of(release, holding) or written:
        held.hold(connection, release)
    return written


def _set_up(connection: Connection, layers: Iterable[str]) -> bool:
    """The platform's own tables and the role of those who read; whether that is new here."""
    is_new, is_set_up = reader.made(connection), held.is_set_up(connection)
    held.make_schemas(connection, layers)
    if not is_set_up:
        for each in held.SET_UP:
            connection.execute(each)
    if is_new or not is_set_up:
        reader.granted_own(connection)
    return is_new


def _must_be_of_this_home(connection: Connection, store: Store) -> None:
    """Two homes that serve into one database would replace each other's releases by turns."""
    holding = held.holding(connection)
    if holding is not None and (strange := standing.foreign(store.shelf, holding)):
        raise ServingError(strange)


def _must_be_ours(there: Iterable[str], known: Iterable[str]) -> None:
    if strange := sorted(set(there) - set(known)):
        raise ServingError(
            f"PostgreSQL has {', '.join(strange)} already, which the platform did not make: name another database in "
            "CLASSIC_CARS_SERVING_URL, or drop what is there"
        )


def _drop(connection: Connection, addresses: Collection[str]) -> None:
    """Tables that releases no longer hold: at once, for they may refer to each other."""
    names = [".".join(map(quoted, address.split("/"))) for address in sorted(addresses)]
    if names:
        connection.execute(f"DROP TABLE IF EXISTS {', '.join(names)}")
    for address in addresses:
        held.forget(connection, address)


def _prepared(
    connection: Connection,
    contracts: list[Contract],
    wants: Mapping[str, Shape],
    there: dict[str, Shape],
    gone: Collection[str],
) -> set[str]:
    """Make tables take the contracts' rows, and drop those that are ``gone``.

    The addresses of those whose own rows nobody can compare with them: they are new, have other columns than before, or
    no key.
    """
    statements = {
        each.address: list(shape.prepared(each, wants[each.address], there.get(each.address))) for each in contracts
    }
    changing = {address for address, found in statements.items() if found}
    changing |= {address for address, found in there.items() if found.keys() != wants[address].keys()}
    for each in shape.released_keys(contracts, wants, there, changing):
        connection.execute(each)
    _drop(connection, gone)
    for each in (each for all in statements.values() for each in all):
        connection.execute(each)
    return changing


def _finished(connection: Connection, contracts: list[Contract], wants: Mapping[str, Shape]) -> None:
    there = shape.found(connection, wants)
    for step in (shape.finished, shape.referring):
        for contract in contracts:
            for each in step(contract, wants[contract.address], there[contract.address]):
                connection.execute(each)


def _must_be_equal(connection: Connection, tables: Pinned, contracts: Iterable[Contract]) -> None:
    for contract in contracts:
        expected, found = rows.whole(contract, tables, connection)
        if found != expected:
            raise ServingError(
                f"{contract.address}: PostgreSQL would have {found}, expected {expected} (rows, then the sum of each "
                "amount); nothing was changed there"
            )
