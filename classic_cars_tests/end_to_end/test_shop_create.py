"""Making a shop in every kind of database: the same rows everywhere, and nobody else's tables touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import metadata
from classic_cars.errors import ShopRefused, SourceError, SourceMissing, SourceUnreachable
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import api as simulator
from classic_cars_shop import database
from classic_cars_tests.command_line import PROGRAM, classic_cars

SIZES = {"customers": 30, "employees": 23, "offices": 7, "orders": 65, "productlines": 7, "products": 49}
MARKER = "classic_cars_shop"


def engine(url: str) -> sa.Engine:
    return sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), poolclass=sa.NullPool)


def dump(url: str) -> dict[str, list[tuple]]:
    """All rows of the eight tables, sorted by key, in Python's own types."""
    with engine(url).connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in metadata.tables.items()
        }


def names(url: str) -> set[str]:
    return set(sa.inspect(engine(url)).get_table_names())


def run_sql(url: str, *statements: str) -> None:
    with engine(url).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.filterwarnings("ignore:Dialect sqlite")
def test_the_same_seed_makes_the_same_rows_in_every_database(
    tmp_path: Path, mariadb_url: str, postgresql_url: str
) -> None:
    urls = [f"sqlite:///{tmp_path / 'shop.sqlite'}", mariadb_url, postgresql_url]
    made = [simulator.create(url, scale=0.6, seed=11) for url in urls]
    sqlite, mariadb, postgresql = map(dump, urls)
    assert sqlite == mariadb
    assert sqlite == postgresql
    assert made[0].rows == {name: len(rows) for name, rows in sqlite.items()}
    assert made[0] == made[1] == made[2]


def test_tables_have_the_declared_keys_and_references(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.2)
    inspector = sa.inspect(engine(order_system_url))
    for name, table in metadata.tables.items():
        assert inspector.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
        found = {
            (key["constrained_columns"][0], key["referred_table"], key["referred_columns"][0])
            for key in inspector.get_foreign_keys(name)
        }
        declared = {
            (column.name, key.column.table.name, key.column.name)
            for column in table.columns
            for key in column.foreign_keys
        }
        assert found == declared
        nullable = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert nullable == {column.name: column.nullable for column in table.columns}


def test_a_missing_folder_is_made_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    url = f"sqlite:///{tmp_path / 'a' / 'b' / 'shop.sqlite'}"
    made = simulator.create(url, scale=0.2, progress=lambda *step: told.append(step))
    assert {name: made.rows[name] for name in SIZES} == SIZES
    assert told[-1][1] == sum(made.rows.values())
    assert all(done <= total for _, done, total in told)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceMissing, match="the folder cannot be made"):
        simulator.create(f"sqlite:///{tmp_path / 'file' / 'shop.sqlite'}", scale=0.2)


def test_a_shop_is_not_replaced_unless_told_to(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.2, seed=1)
    before = dump(order_system_url)
    with pytest.raises(
        ShopRefused, match=r"orders \(65 rows\).*made by the simulator \(shop create, scale 0.2, seed 1"
    ):
        simulator.create(order_system_url, scale=0.2, seed=2)
    assert dump(order_system_url) == before
    assert dict(simulator.plan_replace(order_system_url)) == {name: len(rows) for name, rows in before.items()}

    simulator.create(order_system_url, scale=0.2, seed=2, replace=True)
    assert dump(order_system_url) != before
    assert names(order_system_url) == {*metadata.tables, MARKER}


def test_somebody_elses_table_is_named_and_kept(order_system_url: str) -> None:
    run_sql(order_system_url, "CREATE TABLE orders (x INTEGER)", "INSERT INTO orders VALUES (42)")
    with pytest.raises(ShopRefused, match=r"found orders \(1 row\), not made by the simulator.*--replace"):
        simulator.create(order_system_url, scale=0.2)
    assert names(order_system_url) == {"orders"}
    assert simulator.plan_replace(order_system_url) == [("orders", 1)]


def test_other_tables_of_the_database_are_left_alone(order_system_url: str) -> None:
    run_sql(order_system_url, "CREATE TABLE invoices (x INTEGER)", "INSERT INTO invoices VALUES (42)")
    simulator.create(order_system_url, scale=0.2)
    simulator.create(order_system_url, scale=0.2, replace=True)
    assert names(order_system_url) == {*metadata.tables, MARKER, "invoices"}
    with engine(order_system_url).connect() as connection:
        assert connection.exec_driver_sql("SELECT x FROM invoices").scalar() == 42


def test_a_table_of_others_that_refers_to_the_shop_stops_its_replacement(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.2, seed=1)
    run_sql(
        order_system_url,
        "CREATE TABLE invoices (x INTEGER, FOREIGN KEY (x) REFERENCES "
        + ('orders ("orderNumber"))' if "postgresql" in order_system_url else "orders (orderNumber))"),
    )
    before = dump(order_system_url)
    with pytest.raises(ShopRefused, match=r"invoices.*foreign keys"):
        simulator.create(order_system_url, scale=0.2, seed=2, replace=True)
    assert dump(order_system_url) == before


def test_a_view_under_a_needed_name_is_refused(order_system_url: str) -> None:
    run_sql(order_system_url, "CREATE VIEW payments AS SELECT 1 AS x")
    with pytest.raises(ShopRefused, match="payments: found views"):
        simulator.create(order_system_url, scale=0.2, replace=True)


def test_a_marker_of_somebody_else_is_refused(order_system_url: str) -> None:
    run_sql(order_system_url, f"CREATE TABLE {MARKER} (x INTEGER)")
    with pytest.raises(ShopRefused, match=f"{MARKER}: found a table that the simulator did not make"):
        simulator.create(order_system_url, scale=0.2, replace=True)
    assert names(order_system_url) == {MARKER}


def test_a_view_that_depends_on_the_shop_stops_its_replacement_in_postgresql(postgresql_url: str) -> None:
    simulator.create(postgresql_url, scale=0.2)
    run_sql(postgresql_url, "CREATE VIEW latest AS SELECT * FROM orders")
    with pytest.raises(ShopRefused, match="orders: found views or other objects that depend on it"):
        simulator.create(postgresql_url, scale=0.2, replace=True)
    assert len(dump(postgresql_url)["orders"]) == SIZES["orders"]


def test_a_failure_half_way_leaves_the_old_shop(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.2, seed=1)
    before = dump(order_system_url)

    def fail(what: str, done: int, total: int) -> None:
        if "orderdetails" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulator.create(order_system_url, scale=0.2, seed=2, replace=True, progress=fail)
    assert dump(order_system_url) == before
    assert names(order_system_url) == {*metadata.tables, MARKER}


def test_a_failure_half_way_leaves_nothing_where_nothing_was(order_system_url: str) -> None:
    def fail(what: str, done: int, total: int) -> None:
        if "orderdetails" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulator.create(order_system_url, scale=0.2, progress=fail)
    path = SourceURL.parse(order_system_url).path
    assert not path.exists() if order_system_url.startswith("sqlite") else names(order_system_url) == set()


KILLED = """
import os, signal, sys
from classic_cars_shop import api as simulator
def die(what, done, total):
    if "payments" in what or "orderdetails" in what:
        os.kill(os.getpid(), signal.SIGKILL)
simulator.create(sys.argv[1], scale=2, seed=2, replace=True, progress=die)
"""


def test_a_process_killed_half_way_leaves_the_old_shop_and_the_next_one_works(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.2, seed=1)
    before = dump(order_system_url)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, order_system_url], env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False
    )
    assert killed.returncode == -9
    assert dump(order_system_url) == before

    simulator.create(order_system_url, scale=0.2, seed=2, replace=True)
    assert dump(order_system_url) != before
    assert names(order_system_url) == {*metadata.tables, MARKER}


@pytest.mark.parametrize("command", ["create", "advance"])
def test_a_seed_that_no_database_holds_is_refused(tmp_path: Path, command: str) -> None:
    assert classic_cars(tmp_path, "shop", "create", "--scale", "0.2", "--seed", str(-(2**63))).returncode == 0
    ran = classic_cars(tmp_path, "shop", command, "--seed", "99999999999999999999")
    assert ran.returncode == 2
    assert "Invalid value for '--seed': 99999999999999999999 is not in the range" in ran.stderr


def test_of_two_that_make_a_new_file_at_once_one_has_its_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, together, exists = f"sqlite:///{tmp_path / 'shop.sqlite'}", threading.Barrier(2), database.exists

    def both_ask_first(asked: SourceURL) -> bool:
        found = exists(asked)
        together.wait()
        return found

    def make(seed: int) -> int:
        simulator.create(url, scale=0.2, seed=seed)
        return seed

    monkeypatch.setattr(database, "exists", both_ask_first)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(make, seed) for seed in (1, 2)]
    monkeypatch.undo()
    refused = [each.exception() for each in both if each.exception()]
    assert [type(each) for each in refused] == [ShopRefused]
    (seed,) = [each.result() for each in both if not each.exception()]
    simulator.create(f"sqlite:///{tmp_path / 'same.sqlite'}", scale=0.2, seed=seed)
    assert dump(url) == dump(f"sqlite:///{tmp_path / 'same.sqlite'}")
    assert {each.name for each in tmp_path.iterdir()} == {"shop.sqlite", "same.sqlite"}


def test_a_file_that_came_while_the_shop_was_made_stays_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"

    def another(what: str, done: int, total: int) -> None:
        if not (tmp_path / "shop.sqlite").exists():
            simulator.create(url, scale=0.2, seed=1)

    with pytest.raises(ShopRefused, match="another process made this file meanwhile; nothing was changed"):
        simulator.create(url, scale=0.2, seed=2, progress=another)
    assert [each.name for each in tmp_path.iterdir()] == ["shop.sqlite"]
    simulator.create(f"sqlite:///{tmp_path / 'same.sqlite'}", scale=0.2, seed=1)
    assert dump(url) == dump(f"sqlite:///{tmp_path / 'same.sqlite'}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_new_file_is_whole_or_not_there(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [PROGRAM, "shop", "create", "--scale", "200"],
        env={"CLASSIC_CARS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(each.stat().st_size for each in tmp_path.glob("shop.sqlite*")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(number)
    said = running.communicate()
    assert not (tmp_path / "shop.sqlite").exists()
    if number != signal.SIGKILL:
        assert (running.returncode, said) == (130, ("", "interrupted\n"))
        assert list(tmp_path.iterdir()) == []
    simulator.create(f"sqlite:///{tmp_path / 'shop.sqlite'}", scale=0.2)


@pytest.mark.parametrize("kind", ["journal", "wal"])
def test_what_sqlite_left_of_a_file_that_is_gone_does_no_harm(tmp_path: Path, kind: str) -> None:
    url, path = f"sqlite:///{tmp_path / 'shop.sqlite'}", tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal" if kind == "wal" else "PRAGMA cache_size = 1")
        connection.execute("CREATE TABLE payments (x)")
        connection.commit()
        connection.executemany("INSERT INTO payments VALUES (?)", [(f"{each:0100}",) for each in range(10_000)])
        left = (tmp_path / f"shop.sqlite-{kind}").read_bytes()
    path.unlink()
    (tmp_path / f"shop.sqlite-{kind}").write_bytes(left)
    simulator.create(url, scale=0.2)
    assert len(dump(url)["orders"]) == SIZES["orders"]
    assert [each.name for each in tmp_path.iterdir()] == ["shop.sqlite"]


def test_a_link_to_a_file_that_is_not_there_yet_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite").symlink_to(tmp_path / "disk" / "real.sqlite")
    simulator.create(f"sqlite:///{tmp_path / 'shop.sqlite'}", scale=0.2)
    assert (tmp_path / "shop.sqlite").is_symlink()
    assert [each.name for each in (tmp_path / "disk").iterdir()] == ["real.sqlite"]


def test_a_file_system_without_hard_links_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(url, scale=0.2)
    assert len(dump(url)["orders"]) == SIZES["orders"]
    assert [each.name for each in tmp_path.iterdir()] == ["shop.sqlite"]


def test_a_mariadb_that_takes_no_files_from_clients_gets_the_same_rows(
    mariadb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._CONNECT_ARGUMENTS["mysql"], "local_infile", False)
    simulator.create(mariadb_url, scale=0.2)
    other = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(other, scale=0.2)
    assert dump(mariadb_url) == dump(other)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_shop_that_is_written_is_waited_for_and_another_one_is_not(
    request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 1)
    server = request.getfixturevalue(f"{kind}_server")
    with server.database() as url, server.database() as other, database.transaction(SourceURL.parse(url)):
        simulator.create(other, scale=0.2)
        with pytest.raises(SourceUnreachable, match="another simulator has been writing for 1 s; try again later"):
            simulator.create(url, scale=0.2)


def test_errors_of_the_database_hide_the_password(mariadb_url: str) -> None:
    url = mariadb_url.rpartition("/")[0].replace("mariadb://", "mariadb://nobody-") + "/shop"
    with pytest.raises(SourceError) as caught:
        simulator.create(url, scale=0.2)
    assert "***" in str(caught.value)
    assert str(SourceURL.parse(url).url.password) not in str(caught.value)
