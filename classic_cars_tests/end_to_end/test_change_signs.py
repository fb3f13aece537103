"""Cheap signs of change: whatever changes a table moves its sign, on every database; reading does not."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER, metadata, orderdetails, orders, productlines
from classic_cars.errors import SourceMissing
from classic_cars.sources.order_system import Sign, open_order_system
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import servers
from classic_cars_shop.servers import Server
from classic_cars_tests.order_systems import TODAY, change, line, make_tables, order, put
from classic_cars_tests.programs import or_skip

READER_PASSWORD = "reader"
#: MariaDB tells moments in whole seconds: a table rests when its last change is two of them ago.
REST = 3.1


@pytest.fixture
def shop(order_system_url: str) -> str:
    make_tables(order_system_url)
    put(order_system_url, orders, order(1, date(2004, 1, 5)), order(2, date(2004, 2, 6)))
    put(order_system_url, orderdetails, line(1), line(2))
    put(order_system_url, productlines, {"productLine": "Trains"})
    return order_system_url


def signs(url: str, today: date = TODAY) -> dict[str, Sign]:
    return open_order_system(url).change_signs(today=today)


def rest(url: str) -> dict[str, Sign]:
    """The signs when the shop is at rest."""
    if url.startswith("mariadb"):
        time.sleep(REST)
    return signs(url)


def moved(before: dict[str, Sign], after: dict[str, Sign]) -> set[str]:
    return {table for table in before if after.get(table) is None or after[table].token != before[table].token}


@contextmanager
def transaction(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), poolclass=sa.NullPool)
    with engine.connect() as connection, connection.begin():
        yield connection


def test_all_tables_have_signs_that_stay_while_nothing_changes_and_somebody_reads(shop: str) -> None:
    before = rest(shop)
    assert before.keys() == {table.name for table in READ_ORDER}
    # Only an exact sign is a proof: see what MariaDB cannot tell.
    assert {each.exact for each in open_order_system(shop).change_signs().values()} == {not shop.startswith("mariadb")}
    reader = open_order_system(shop)
    reader.fingerprints(today=TODAY)
    with reader.snapshot() as snapshot:
        snapshot.read(orders, today=TODAY).read_all()
    reader.months(TODAY)
    assert moved(before, signs(shop)) == set()


@pytest.mark.parametrize(
    "statement",
    [
        """INSERT INTO orders SELECT 3, "orderDate", "requiredDate", "shippedDate", status, comments, 7 FROM orders
           WHERE "orderNumber" = 1""",
        """UPDATE orders SET status = 'On Hold' WHERE "orderNumber" = 2""",
        """DELETE FROM orders WHERE "orderNumber" = 2""",
        "TRUNCATE TABLE orders",
    ],
)
def test_a_change_moves_the_sign_of_its_table_and_of_the_lines_that_it_dates(shop: str, statement: str) -> None:
    if shop.startswith("sqlite"):
        statement = statement.replace("TRUNCATE TABLE", "DELETE FROM")
    before = rest(shop)
    change(shop, statement)
    found = moved(before, signs(shop))
    assert {"orders", "orderdetails"} <= found
    if shop.startswith("mariadb"):
        # Of a table without a moment of its last change, such as an empty one, any transaction may be a change.
        assert "productlines" not in found
        # Once it is over, it has a sign that stays.
        after = rest(shop)
        assert {"orders", "orderdetails"} <= moved(before, after)
        assert moved(after, signs(shop)) == set()


def test_a_table_that_was_emptied_and_filled_as_before_moves(shop: str) -> None:
    before = rest(shop)
    with transaction(shop) as connection:
        connection.execute(orders.delete())
        connection.execute(orders.insert(), [order(1, date(2004, 1, 5)), order(2, date(2004, 2, 6))])
    assert "orders" in moved(before, signs(shop))


def test_a_long_transaction_moves_it_when_it_ends(shop: str) -> None:
    if shop.startswith("sqlite"):
        change(shop, "PRAGMA journal_mode = wal")
    rest(shop)  # MariaDB: so that it does not begin in the second of another change
    with transaction(shop) as connection:
        connection.execute(orders.update().values(status="Disputed"))
        during = rest(shop)
        rows = open_order_system(shop).fingerprints(today=TODAY)
    assert "orders" in moved(during, signs(shop))
    assert open_order_system(shop).fingerprints(today=TODAY) != rows


def test_another_day_moves_them_because_dates_become_good(shop: str) -> None:
    before = rest(shop)
    assert moved(before, signs(shop, TODAY + timedelta(days=1))) == before.keys()


def test_two_shops_have_different_signs(shop: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    make_tables(other)
    assert moved(rest(shop), signs(other)) == {table.name for table in READ_ORDER}


def test_a_view_has_no_sign(shop: str) -> None:
    if shop.startswith("sqlite"):
        pytest.skip("a view of a file shows what is in the file")
    change(shop, "ALTER TABLE products RENAME TO stock", "CREATE VIEW products AS SELECT * FROM stock")
    assert signs(shop).keys() == {table.name for table in READ_ORDER} - {"products"}
    change(shop, "ALTER TABLE orders RENAME TO old", "CREATE VIEW orders AS SELECT * FROM old")
    assert not signs(shop).keys() & {"orders", "orderdetails"}


def test_whoever_may_only_read_is_told_all_signs(shop: str) -> None:
    if shop.startswith("sqlite"):
        pytest.skip("a file knows no users")
    url = SourceURL.parse(shop).url
    reader = f"reader_{time.time_ns()}"
    names = [table.name for table in metadata.sorted_tables]
    if shop.startswith("mariadb"):
        account = f"'{reader}'@'127.0.0.1'"
        grants = [f"GRANT SELECT ON {url.database}.{name} TO {account}" for name in names]
        change(shop, f"CREATE USER {account} IDENTIFIED BY '{READER_PASSWORD}'", *grants)
    else:
        grants = [f"GRANT SELECT ON {name} TO {reader}" for name in names]
        change(shop, f"CREATE ROLE {reader} LOGIN PASSWORD '{READER_PASSWORD}'", *grants)
    as_reader = url.set(username=reader, password=READER_PASSWORD).render_as_string(hide_password=False)
    try:
        before = rest(as_reader)
        assert before.keys() == set(names)
        change(shop, """UPDATE orders SET status = 'On Hold'""")
        assert "orders" in moved(before, signs(as_reader))
    finally:
        owned = [] if shop.startswith("mariadb") else [f"DROP OWNED BY {reader}"]
        change(shop, *owned, f"DROP {'USER ' + account if shop.startswith('mariadb') else 'ROLE ' + reader}")


def test_an_order_system_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no such file"):
        signs(f"sqlite:///{tmp_path / 'gone.sqlite'}")


# SQLite ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_each_commit_moves_a_file_also_many_in_a_moment(tmp_path: Path, mode: str) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    make_tables(url)
    put(url, orders, order(1, date(2004, 1, 5)))
    seen = set()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"PRAGMA journal_mode = {mode}")
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 5")
        for number in range(200):
            connection.exec_driver_sql(f"UPDATE orders SET comments = '{number:03}'")
            seen.add(signs(url)["orders"].token)
    assert len(seen) == 200


# MariaDB -----------------------------------------------------------------------------------------------


def test_of_two_transactions_of_one_second_the_second_commit_is_left_to_the_proof(mariadb_url: str) -> None:
    """Documents what ``update_time`` cannot tell: should this fail one day, signs have become better."""
    make_tables(mariadb_url)
    put(mariadb_url, orders, order(1, date(2004, 1, 5)), order(2, date(2004, 2, 6)))
    for _ in range(5):
        began = time.time()
        with transaction(mariadb_url) as late:
            with transaction(mariadb_url) as early:
                late.execute(orders.update().where(orders.c.orderNumber == 1).values(status=f"{began}"[-9:]))
                early.execute(orders.update().where(orders.c.orderNumber == 2).values(status=f"{began}"[-9:]))
            same_second = int(began) == int(time.time())
            during = rest(mariadb_url)
        if same_second:
            assert "orders" not in moved(during, signs(mariadb_url))
            return
    pytest.skip("no two transactions began in the same second")


@pytest.mark.parametrize(("engine", "has_sign"), [("MyISAM", True), ("Aria", False), ("MEMORY", False)])
def test_another_engine_has_a_sign_where_its_word_is_good(mariadb_url: str, engine: str, *, has_sign: bool) -> None:
    make_tables(mariadb_url)
    change(mariadb_url, "DROP TABLE offices", "CREATE TABLE offices (officeCode VARCHAR(10)) ENGINE = " + engine)
    before = rest(mariadb_url)
    assert ("offices" in before) is has_sign
    if has_sign:
        change(mariadb_url, "INSERT INTO offices VALUES ('1')")
        assert moved(before, signs(mariadb_url)) == {"offices"}


def test_a_table_that_changed_just_now_has_no_sign_that_stays(mariadb_url: str) -> None:
    make_tables(mariadb_url)
    put(mariadb_url, orders, order(1, date(2004, 1, 5)))
    first = signs(mariadb_url)
    time.sleep(0.01)
    assert "orders" in moved(first, signs(mariadb_url))
    assert first["orders"].resting is False
    time.sleep(REST)
    assert signs(mariadb_url)["orders"].resting is True


# Servers that are restarted ----------------------------------------------------------------------------


@contextmanager
def restartable(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Callable[[], None]]]:
    """A server of the test's own, and how to restart it."""
    start, started = subprocess.Popen, []

    def recorded(*command: Any, **options: Any) -> Any:
        started.append((command, options, start(*command, **options)))
        return started[-1][-1]

    monkeypatch.setattr(servers.subprocess, "Popen", recorded)
    with or_skip(getattr(servers, kind)()) as server:

        def end() -> None:
            process = started[-1][-1]
            process.send_signal(signal.SIGTERM if kind == "mariadb" else signal.SIGINT)
            process.wait(30)

        def restart() -> None:
            end()
            command, options, _ = started[-1]
            assert servers._answers(server, recorded(*command, **options))

        try:
            yield server, restart
        finally:
            end()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_restart_moves_all_signs_and_changes_after_it_move_them_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with restartable(kind, monkeypatch) as (server, restart):
        engine = server.engine("mysql" if kind == "mariadb" else "postgres")
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE shop")
        url = server.url("shop")
        make_tables(url)
        put(url, orders, order(1, date(2004, 1, 5)))
        before = rest(url)
        restart()
        after = rest(url)
        assert moved(before, after) == before.keys()
        for _ in range(20):  # a server that was just started works on its own tables for a moment
            time.sleep(0.5)
            if not moved(after, now := signs(url)):
                break
            after = now
        assert moved(after, signs(url)) == set()
        change(url, "UPDATE orders SET status = 'On Hold'")
        assert "orders" in moved(after, signs(url))
