"""An order system that is away, closed or not what was expected: said soon, clearly and without the password."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from classic_cars.contracts.order_system import READ_ORDER, orderdetails, orders
from classic_cars.errors import (
    ClassicCarsError,
    SourceAccessDenied,
    SourceError,
    SourceMissing,
    SourceSchemaChanged,
    SourceUnreachable,
)
from classic_cars.sources.order_system import open_order_system
from classic_cars.sources.urls import SourceURL
from classic_cars_shop.servers import PASSWORD, Server, free_port, silent_port
from classic_cars_tests.order_systems import TODAY, arrived, change, make_tables, one_order, said_now

#: What a person at the terminal waits at most.
PATIENCE = 5.0
READER = "reader"


@contextmanager
def said_soon(kind: type[SourceError], *words: str, secret: str = PASSWORD) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(kind) as raised:
        yield
    assert time.monotonic() - started < PATIENCE
    text = str(raised.value)
    assert all(word in text for word in words), text
    shown = "".join(traceback.format_exception(raised.value))  # as a log would show it
    for spelling in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
        assert spelling not in shown


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def shop(server: Server) -> Iterator[str]:
    """The URL of a database with one order, that a user who may only read it gets later."""
    with server.database() as url:
        one_order(url)
        yield url


def reader_of(server: Server, owner_url: str, *tables: str) -> str:
    """The URL of a user who may SELECT from these tables and nothing else."""
    database = owner_url.rpartition("/")[2]
    name = f"{READER}_{database}"
    secret = PASSWORD.replace("\\", "\\\\") if server.scheme == "mariadb" else PASSWORD
    secret = secret.replace("'", "''")
    if server.scheme == "mariadb":
        change(owner_url, f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{secret}'")
        change(owner_url, *(f"GRANT SELECT ON {database}.{table} TO {name}@'127.0.0.1'" for table in tables))
    else:
        change(owner_url, f"CREATE ROLE {name} LOGIN PASSWORD '{secret}'")
        change(owner_url, *(f"GRANT SELECT ON {table} TO {name}" for table in tables))
    return server.url(database, user=name)


def drop_reader(server: Server, owner_url: str) -> None:
    name = f"{READER}_{owner_url.rpartition('/')[2]}"
    if server.scheme == "mariadb":
        change(owner_url, f"DROP USER {name}@'127.0.0.1'")
    else:
        change(owner_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


ALL = ("customers", "employees", "offices", "orderdetails", "orders", "payments", "productlines", "products")


def test_a_user_who_may_only_read_is_enough(server: Server, shop: str) -> None:
    url = reader_of(server, shop, *ALL)
    try:
        order_system = open_order_system(url)
        order_system.probe()
        assert arrived(url, orderdetails).num_rows == 1
        assert [each.cents for each in said_now(url, orderdetails).values()] == [375]
    finally:
        drop_reader(server, shop)


def test_a_missing_permission_is_named(server: Server, shop: str) -> None:
    url = reader_of(server, shop, *(table for table in ALL if table != "orders"))
    try:
        with said_soon(SourceAccessDenied, "orders", "SELECT", "CLASSIC_CARS_SOURCE_URL"):
            open_order_system(url).probe()
    finally:
        drop_reader(server, shop)


@contextmanager
def locked(server: Server, shop: str, table: str) -> Iterator[None]:
    """The table, kept by another session to itself, as by one that alters it."""
    with server.engine(shop.rpartition("/")[2]).connect() as connection:
        lock = f"LOCK TABLES {table} WRITE" if server.scheme == "mariadb" else f"BEGIN; LOCK TABLE {table}"
        connection.exec_driver_sql(lock)
        yield


def test_nobody_waits_for_ever_for_a_table_that_another_session_keeps(server: Server, shop: str) -> None:
    system = open_order_system(shop, connect_timeout=1)
    with system.snapshot() as snapshot, locked(server, shop, "orders"):
        for look in (system.probe, lambda: system.months(TODAY), lambda: snapshot.read(orders).read_all()):
            with said_soon(SourceUnreachable, "another session keeps a table locked"):
                look()
    system.probe()
    with system.snapshot() as snapshot:
        assert snapshot.read(orders).read_all().num_rows == 1


@pytest.mark.parametrize("is_read", [True, False], ids=["between tables", "in the middle of one"])
def test_a_server_that_ends_the_session_does_not_end_the_process(postgresql_server: Server, is_read: bool) -> None:
    with postgresql_server.database() as url:
        one_order(url)
        with open_order_system(url).snapshot() as snapshot:
            rows = snapshot.read(orders)
            if is_read:
                assert rows.read_all().num_rows == 1
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            change(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            if is_read:  # what comes next is of a session, and a snapshot, of its own
                assert snapshot.read(orderdetails).read_all().num_rows == 1
                assert [each.cents for each in snapshot.control_totals(orderdetails).values()] == [375]


def test_rows_that_a_policy_hides_are_no_rows_that_are_not_there(postgresql_server: Server) -> None:
    with postgresql_server.database() as url:
        one_order(url)
        change(url, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
        reader = reader_of(postgresql_server, url, *ALL)
        try:
            system = open_order_system(reader)
            with said_soon(SourceAccessDenied, "row-level security", '"orders"'):
                system.probe()
            with said_soon(SourceError, "row-level security"), system.snapshot() as snapshot:
                snapshot.read(orders).read_all()
        finally:
            drop_reader(postgresql_server, url)


def test_views_without_the_permission_to_show_them_are_named(mariadb_server: Server) -> None:
    with mariadb_server.database() as url:
        one_order(url)
        change(url, *(f"RENAME TABLE {each} TO {each}_base" for each in ALL))
        change(url, *(f"CREATE VIEW {each} AS SELECT * FROM {each}_base" for each in ALL))
        reader = reader_of(mariadb_server, url, *ALL)
        database, name = url.rpartition("/")[2], f"{READER}_{url.rpartition('/')[2]}"
        try:
            for look in (lambda: open_order_system(reader).months(TODAY), lambda: arrived(reader, orders)):
                with said_soon(SourceAccessDenied, "are views", "GRANT SHOW VIEW"):
                    look()
            change(url, *(f"GRANT SHOW VIEW ON {database}.{each} TO {name}@'127.0.0.1'" for each in ALL))
            assert arrived(reader, orderdetails).num_rows == 1
        finally:
            drop_reader(mariadb_server, url)


@pytest.mark.parametrize(
    "look", [lambda url: open_order_system(url).probe(), lambda url: arrived(url, orders)], ids=["probe", "read"]
)
def test_a_wrong_password_is_named(server: Server, shop: str, look: Callable[[str], object]) -> None:
    url = server.url(shop.rpartition("/")[2], password="wrong-secret")
    with said_soon(SourceAccessDenied, "127.0.0.1", "password", "CLASSIC_CARS_SOURCE_URL", secret="wrong-secret"):
        look(url)


def test_a_missing_database_is_named(server: Server) -> None:
    with said_soon(ClassicCarsError, "no_such_shop"):  # type: ignore[arg-type]
        open_order_system(server.url("no_such_shop")).probe()


def test_a_missing_table_is_named(server: Server, shop: str) -> None:
    change(shop, "DROP TABLE payments")
    with said_soon(SourceMissing, "payments"):
        open_order_system(shop).probe()


def test_a_missing_column_is_named(server: Server, shop: str) -> None:
    change(shop, 'ALTER TABLE orders DROP COLUMN "comments"')
    with said_soon(SourceSchemaChanged, "orders", "comments"):
        open_order_system(shop).probe()


@pytest.mark.parametrize("scheme", ["mariadb", "mysql", "postgresql"])
def test_a_port_where_nobody_listens_is_named(scheme: str) -> None:
    url = f"{scheme}://{READER}:{quote(PASSWORD, safe='')}@127.0.0.1:{free_port()}/shop"
    with said_soon(SourceUnreachable, "127.0.0.1", "the server runs"):
        open_order_system(url).probe()


@pytest.mark.parametrize("scheme", ["mariadb", "postgresql"])
def test_a_server_that_never_answers_is_given_up(scheme: str) -> None:
    with silent_port() as port:
        url = f"{scheme}://{READER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/shop"
        with said_soon(SourceUnreachable, "127.0.0.1"):
            open_order_system(url).probe()


@pytest.mark.parametrize("scheme", ["mariadb", "postgresql"])
def test_a_host_that_nobody_knows_is_named(scheme: str) -> None:
    with said_soon(SourceUnreachable, "shop.invalid"):
        open_order_system(f"{scheme}://{READER}:{quote(PASSWORD, safe='')}@shop.invalid/shop").probe()


def test_a_sqlite_file_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "no-such.sqlite"
    with said_soon(SourceMissing, str(path), "shop create"):
        open_order_system(f"sqlite:///{path}").probe()
    assert not path.exists()


def test_a_file_that_is_no_sqlite_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing to see here\n" * 100)
    with said_soon(SourceMissing, str(path)):
        open_order_system(f"sqlite:///{path}").probe()


def test_an_empty_database_lacks_every_table(order_system_url: str) -> None:
    if order_system_url.startswith("sqlite"):
        SourceURL.parse(order_system_url).path.touch()
    with said_soon(SourceMissing, "no table order", "to make one to play with: `classic-cars shop create`"):
        open_order_system(order_system_url).probe()


def test_whose_tables_are_there_but_for_one_is_not_told_to_make_a_shop(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    make_tables(url)
    change(
        url, "DROP TABLE orders", "ALTER TABLE payments RENAME TO paid", "CREATE VIEW payments AS SELECT * FROM paid"
    )
    with pytest.raises(SourceMissing, match=r"no table orders; expected the eight .* CLASSIC_CARS_SOURCE_URL$"):
        open_order_system(url).probe()


@pytest.mark.parametrize(
    ("statement", "stopped", "said"),
    [
        ('ALTER TABLE orders RENAME COLUMN "status" TO "orderStatus"', {"orders"}, ("status", "orderStatus")),
        ('ALTER TABLE orders RENAME COLUMN "orderDate" TO "day"', {"orders", "orderdetails"}, ("orderDate", "day")),
        ('ALTER TABLE customers RENAME COLUMN "creditLimit" TO "limitOf"', {"customers"}, ("creditLimit", "limitOf")),
        ("ALTER TABLE payments RENAME TO payments_2", {"payments"}, ("payments",)),
    ],
)
def test_of_a_changed_schema_only_the_tables_that_cannot_be_read_are_named(
    order_system_url: str, statement: str, stopped: set[str], said: tuple[str, ...]
) -> None:
    make_tables(order_system_url)
    order_system = open_order_system(order_system_url)
    assert order_system.unreadable() == {}
    change(order_system_url, statement)
    found = order_system.unreadable()
    assert found.keys() == stopped
    for error in found.values():
        assert all(each in str(error) for each in said)
    with pytest.raises(SourceError) as probed:
        order_system.probe()
    assert str(probed.value) == str(next(iter(found.values())))
    # All that is still there can be polled.
    order_system.fingerprints([table for table in READ_ORDER if table.name not in stopped])
