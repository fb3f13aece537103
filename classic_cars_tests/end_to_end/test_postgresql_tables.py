"""What a contract becomes in PostgreSQL: found by BI tools, put right after hands, changed with the contract."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pandera.ibis as pa
import psycopg
import pyarrow
import pyarrow.compute
import pytest
import sqlalchemy as sa

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.contracts.vocabulary import Int, Text
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import rows, shape
from classic_cars.serving.postgresql.connection import Server
from classic_cars.serving.postgresql.reader import READER
from classic_cars.serving.postgresql.rights import examined
from classic_cars.settings import Settings
from classic_cars.sources.urls import SourceURL
from classic_cars.stores.sql import table_name
from classic_cars_tests.postgresql_serving import (
    CONTRACTS,
    FACT,
    TOTALS,
    asked,
    done,
    must_be_equal,
    refreshed,
)

SCHEMAS = (*RELEASED, "platform")

# What somebody changed by hand ------------------------------------------------------------------------------


CHANGES = {
    "updated": ["UPDATE warehouse.dim_customers SET \"customerName\" = 'Somebody'"],
    "deleted": ["DELETE FROM warehouse.fact_orders WHERE \"orderDate\" < '2003-03-01'"],
    "emptied": ["TRUNCATE analytics.sales_by_country"],
    "dropped": ["DROP TABLE warehouse.dim_products CASCADE"],
    "other columns": [
        'ALTER TABLE warehouse.fact_orders DROP COLUMN "MSRP"',
        "ALTER TABLE warehouse.fact_orders ADD mine text",
    ],
    "another type": ['ALTER TABLE warehouse.fact_orders ALTER "orderAmount" TYPE double precision'],
    "no key": [
        "ALTER TABLE warehouse.fact_payments DROP CONSTRAINT fact_payments_pkey",
        "INSERT INTO warehouse.fact_payments SELECT * FROM warehouse.fact_payments",
    ],
    "all around the rows": [
        'DROP INDEX warehouse."fact_orders_orderDate_idx"',
        "COMMENT ON TABLE warehouse.fact_orders IS 'mine'",
        'ALTER TABLE warehouse.fact_orders DROP CONSTRAINT "fact_orders_orderDate_fkey"',
        "DROP TRIGGER changed_by_hand ON warehouse.fact_orders",
    ],
    "everything dropped": ["DROP SCHEMA warehouse, analytics, platform CASCADE"],
}


@pytest.mark.exhaustive
def test_what_a_hand_changed_is_put_right(served: Settings) -> None:
    before = described(served)
    for name, changes in CHANGES.items():
        done(served, *changes)
        refreshed(served)
        must_be_equal(served)
        assert described(served) == before, name


def described(settings: Settings) -> dict[str, Any]:
    """All that is to be known of the tables, as SQLAlchemy finds it."""
    engine = sa.create_engine(SourceURL.parse(settings.serving_url.get_secret_value()).for_sqlalchemy())
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {}
    for layer in RELEASED:
        for name in sorted(inspector.get_table_names(layer)):
            found[f"{layer}/{name}"] = {
                "columns": sorted(repr(each) for each in inspector.get_columns(name, layer)),
                "key": inspector.get_pk_constraint(name, layer),
                "references": sorted(inspector.get_foreign_keys(name, layer), key=repr),
                "indexes": sorted(inspector.get_indexes(name, layer), key=repr),
                "comment": inspector.get_table_comment(name, layer),
            }
    engine.dispose()
    found["rights"] = asked(
        settings,
        f"SELECT oid::regclass::text, has_table_privilege('{READER}', oid, 'SELECT') FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('warehouse', 'analytics') ORDER BY 1",
    )
    return found


# What BI tools find -----------------------------------------------------------------------------------------


def test_sqlalchemy_finds_types_keys_references_indexes_and_comments(served: Settings) -> None:
    found = described(served)
    assert {address for address in found if address != "rights"} == {each.address for each in CONTRACTS}
    engine = sa.create_engine(SourceURL.parse(served.serving_url.get_secret_value()).for_sqlalchemy())
    for contract in CONTRACTS:
        table = sa.Table(contract.name, sa.MetaData(), schema=contract.layer, autoload_with=engine)
        assert table.columns.keys() == list(contract.types.names)
        assert table.comment == contract.description
        assert tuple(table.primary_key.columns.keys()) == contract.key
        assert {(each.parent.name, each.target_fullname) for each in table.foreign_keys} == {
            (each.column, f"{each.to.replace('/', '.')}.{each.to_column}") for each in contract.references
        }
        indexed = {each.columns.keys()[0] for each in table.indexes} | {contract.key[0]}
        assert indexed >= {each.column for each in contract.references} | {contract.partitioned_by} - {None}
        for name, column in table.columns.items():
            assert str(column.comment).startswith(contract.describe(name))
            assert ("(personal data)" in str(column.comment)) == contract.is_personal(name)
            assert column.nullable == contract.schema.columns[name].nullable
    facts = sa.Table("fact_orders", sa.MetaData(), schema="warehouse", autoload_with=engine)
    assert str(facts.columns["orderAmount"].type) == "NUMERIC(18, 2)"
    engine.dispose()


def test_psql_lists_and_describes(served: Settings) -> None:
    try:
        subprocess.run(["psql", "--version"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("psql is not installed")

    def psql(command: str) -> str:
        ran = subprocess.run(
            ["psql", served.serving_url.get_secret_value(), "-X", "-c", command], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    listed = psql(r"\dt warehouse.*") + psql(r"\dt analytics.*")
    assert all(each.name in listed for each in CONTRACTS)
    shown = psql(r"\d+ warehouse.fact_orders")
    assert "numeric(18,2)" in shown
    assert '"fact_orders_pkey" PRIMARY KEY, btree ("orderNumber", "productCode")' in shown
    assert 'REFERENCES warehouse.dim_products("productCode") DEFERRABLE INITIALLY DEFERRED' in shown
    assert FACT.describe("orderAmount") in shown


def test_who_is_granted_the_role_reads_and_does_nothing_else(served: Settings) -> None:
    user = f"bi_{time.monotonic_ns()}"
    done(
        served,
        f"CREATE ROLE {user} LOGIN PASSWORD 'secret' IN ROLE {READER}",
        f"ALTER ROLE {user} SET statement_timeout = '60s'",
    )
    url = SourceURL.parse(served.serving_url.get_secret_value()).url
    try:
        with psycopg.connect(
            host="127.0.0.1", port=url.port, dbname=url.database, user=user, password="secret", autocommit=True
        ) as reader:
            for each in CONTRACTS:
                reader.execute(f"SELECT * FROM {table_name(each)}")
            assert reader.execute("SELECT count(*) FROM platform.release").fetchall() == [(1,)]
            for statement in (
                "DELETE FROM warehouse.fact_orders",
                "UPDATE platform.release SET number = 7",
                "SELECT * FROM platform.held",
                "DROP TABLE analytics.sales_by_month",
                "CREATE TABLE warehouse.mine ()",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(statement)
    finally:
        done(served, f"DROP ROLE {user}")


def readable(settings: Settings) -> dict[str, bool]:
    """By table, whether the role of the readers may."""
    question = f"""SELECT c.oid::regclass::text, has_schema_privilege('{READER}', relnamespace, 'USAGE')
        AND has_table_privilege('{READER}', c.oid, 'SELECT') FROM pg_class c WHERE relkind = 'r'
        AND relnamespace::regnamespace::text IN ('warehouse', 'analytics', 'platform')"""
    return dict(asked(settings, question))


def test_what_was_taken_from_the_readers_stays_taken(served: Settings) -> None:
    before = readable(served)
    assert before.pop("platform.held") is False
    assert all(before.values())
    done(served, f"REVOKE SELECT ON warehouse.dim_customers FROM {READER}")
    done(served, f"REVOKE USAGE ON SCHEMA analytics FROM {READER}", "DROP TABLE analytics.sales_by_month")
    refreshed(served)
    expected = {name: not name.startswith("analytics.") and name != "warehouse.dim_customers" for name in before}
    assert readable(served) == expected | {"platform.held": False}


def test_readers_who_are_new_to_the_database_read_all_of_it(served: Settings) -> None:
    before = readable(served)
    done(
        served,
        *(f"REVOKE ALL ON ALL TABLES IN SCHEMA {each} FROM {READER}" for each in SCHEMAS),
        *(f"REVOKE ALL ON SCHEMA {each} FROM {READER}" for each in SCHEMAS),
    )
    refreshed(served)
    assert readable(served) == before


def test_the_role_of_the_page_for_a_tool_without_personal_data_reads_none(served: Settings) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bi.md").read_text()
    (block,) = re.findall(r"```sql\n(CREATE ROLE metabase .*?)```", page, re.DOTALL)
    user = f"bi_{time.monotonic_ns()}"
    personal = {each.address.replace("/", ".") for each in CONTRACTS if any(map(each.is_personal, each.types.names))}
    assert all(f"`{each}`" in page for each in personal)
    done(served, *block.replace("metabase", user).strip().rstrip(";").split(";\n"))
    try:
        readable = dict(
            asked(
                served,
                f"SELECT c.oid::regclass::text, has_table_privilege('{user}', c.oid, 'SELECT') FROM pg_class c "
                "WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('warehouse', 'analytics', 'platform')",
            )
        )
        assert readable["platform.release"]
        assert readable["analytics.sales_by_country"]
        assert not any(readable[each] for each in personal)
    finally:
        done(served, f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def test_the_doctor_names_each_right_that_is_missing(postgresql_url: str) -> None:
    server = Server.parse(postgresql_url, 4)
    assert "holds no release yet" in examined(server)
    url, user = server.url.url, f"loader_{time.monotonic_ns()}"
    poor = Server.parse(url.set(username=user, password="secret").render_as_string(hide_password=False), 4)
    with psycopg.connect(postgresql_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
        owner.execute(f"REVOKE TEMPORARY ON DATABASE {url.database} FROM PUBLIC")
        try:
            with pytest.raises(ServingError) as refused:
                examined(poor)
            missing = str(refused.value).partition(": ")[2].split("; ")
            rights = [each for each in missing if each.startswith("GRANT")]
            assert len(rights) == 2
            assert "secret" not in str(refused.value)
            for each in rights:
                owner.execute(each)
            owner.execute(f"DO $$ BEGIN CREATE ROLE {READER} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
            assert "holds no release yet" in examined(poor)
        finally:
            owner.execute(f"DROP OWNED BY {user}")
            owner.execute(f"DROP ROLE {user}")


@pytest.mark.parametrize("closed", [True, False])
def test_schemas_that_an_administrator_made_are_used_or_named(serving: Settings, closed: bool) -> None:
    """With the right to create schemas and none in one that is there; or the other way round."""
    text = serving.serving_url.get_secret_value()
    url, user = SourceURL.parse(text).url, f"loader_{time.monotonic_ns()}"
    theirs = url.set(username=user, password="secret").render_as_string(hide_password=False)
    poor = serving.model_copy(update={"serving_url": Settings(serving_url=theirs).serving_url})
    done(
        serving,
        f"CREATE ROLE {user} LOGIN PASSWORD 'secret'",
        f"DO $$ BEGIN CREATE ROLE {READER} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$",
        *([f"GRANT CREATE ON DATABASE {url.database} TO {user}", "CREATE SCHEMA analytics"] if closed else []),
        *([] if closed else [f"CREATE SCHEMA {each} AUTHORIZATION {user}" for each in SCHEMAS]),
    )
    try:
        if closed:
            with pytest.raises(ServingError, match='CREATE, USAGE ON SCHEMA "analytics"') as refused:
                examined(Server.of(poor))
            done(serving, str(refused.value).partition(": ")[2])
        assert "holds no release yet" in examined(Server.of(poor))
        refreshed(poor)
        assert all(right for name, right in readable(serving).items() if name != "platform.held")
    finally:
        done(serving, f"DROP OWNED BY {user} CASCADE", f"DROP ROLE {user}")


def test_the_doctor_says_whose_tables_they_are(served: Settings) -> None:
    url, user = SourceURL.parse(served.serving_url.get_secret_value()).url, f"loader_{time.monotonic_ns()}"
    done(served, f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    try:
        with pytest.raises(ServingError, match=f"belong to {url.username}, and this user is"):
            examined(Server.parse(url.set(username=user, password="secret").render_as_string(hide_password=False), 4))
    finally:
        done(served, f"DROP ROLE {user}")


def test_a_database_that_is_not_there_is_named(postgresql_url: str) -> None:
    absent = f"{postgresql_url.rpartition('/')[0]}/absent"
    with pytest.raises(ServingError, match=r'database "absent" does not exist; create it, or check its name'):
        examined(Server.parse(absent, 4))


def test_a_table_of_somebody_else_that_refers_to_rows_that_go_is_named(served: Settings) -> None:
    done(
        served,
        'CREATE TABLE public.notes (customer integer REFERENCES warehouse.dim_customers ("customerNumber"))',
        """INSERT INTO warehouse.dim_customers SELECT (jsonb_populate_record(c, '{"customerNumber": 999999}')).*
        FROM warehouse.dim_customers c LIMIT 1""",
        "INSERT INTO public.notes VALUES (999999)",
    )
    with pytest.raises(ServingError, match=r"public\.notes is a table of yours"):
        refreshed(served)
    done(served, "DROP TABLE public.notes")
    refreshed(served)
    must_be_equal(served)


# Contracts that change, and values that are hard ------------------------------------------------------------


def without(contract: Contract, *columns: str) -> Contract:
    schema = contract.schema.remove_columns(list(columns))
    return Contract(schema=schema, partitioned_by=contract.partitioned_by, references=contract.references)


def test_a_contract_with_another_column_changes_the_table_and_keeps_views(serving: Settings) -> None:
    fewer = [without(each, "comments", "MSRP") if each is FACT else each for each in CONTRACTS]
    refreshed(serving, fewer)
    assert "comments" not in described(serving)["warehouse/fact_orders"]["columns"]
    done(serving, 'CREATE VIEW public.mine AS SELECT "orderNumber", "orderAmount" FROM warehouse.fact_orders')
    refreshed(serving)
    must_be_equal(serving)
    ((total,),) = asked(serving, 'SELECT sum("orderAmount") FROM public.mine')
    assert total == asked(serving, TOTALS)[0][1]
    done(serving, "CREATE VIEW public.more AS SELECT comments FROM warehouse.fact_orders")
    with pytest.raises(ServingError, match="views of yours"):
        refreshed(serving, fewer)
    must_be_equal(serving)
    done(serving, "DROP VIEW public.more")
    assert set(refreshed(serving, fewer).tables) == {FACT.address}
    assert refreshed(serving, [each for each in CONTRACTS if each.name != "sales_by_month"]).tables.keys() == {
        FACT.address
    }
    assert asked(serving, "SELECT to_regclass('analytics.sales_by_month')") == [(None,)]


def test_a_dimension_that_is_retired_goes_while_a_fact_referred_to_it(served: Settings) -> None:
    done(
        served,
        "CREATE TABLE warehouse.dim_colours (colour text PRIMARY KEY)",
        "CREATE TABLE warehouse.fact_colours (colour text REFERENCES warehouse.dim_colours)",
        "INSERT INTO platform.held VALUES ('warehouse/dim_colours', '{}'), ('warehouse/fact_colours', '{}')",
        'ALTER TABLE warehouse.fact_orders ADD CONSTRAINT "fact_orders_comments_fkey" '
        "FOREIGN KEY (comments) REFERENCES warehouse.dim_colours NOT VALID",
    )
    refreshed(served)
    assert asked(served, "SELECT to_regclass('warehouse.dim_colours'), count(*) FROM platform.held") == [
        (None, len(CONTRACTS))
    ]
    must_be_equal(served)


HARD = [
    "",
    "NULL",
    "\\N",
    "\\.",
    "a\n\\.\nb",
    "\\.\n",
    "tab\there",
    'quo"te',
    "it's",
    "a,b",
    "\r\n",
    "ünïcode 🚗",
    " ",
    "a\0b",
    None,
]


def test_hard_texts_arrive_as_they_are_but_for_what_postgresql_cannot_hold(postgresql_url: str) -> None:
    columns = {"number": pa.Column(Int()), "text": pa.Column(Text(), nullable=True)}
    contract = Contract.of(pa.DataFrameSchema(columns, name="warehouse/hard", unique=["number"]))
    duck = duckdb.connect()
    texts = pyarrow.table({"number": pyarrow.array(range(len(HARD)), pyarrow.int32()), "text": HARD})
    duck.register("texts", texts)
    duck.execute("CREATE SCHEMA warehouse; CREATE TABLE warehouse.hard AS FROM texts")
    release: Any = SimpleNamespace(query=lambda sql: duck.execute(sql).to_arrow_reader(5))
    held = "SELECT number, text FROM warehouse.hard ORDER BY number"
    expected = [(number, text and text.replace("\0", "")) for number, text in enumerate(HARD)]
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE SCHEMA warehouse")
        for each in shape.prepared(contract, shape.wanted(contract, []), None):
            connection.execute(each)
        assert rows.filled(connection, contract, release) == len(HARD)
        assert connection.execute(held).fetchall() == expected
        assert rows.merged(connection, contract, release, {""}) == 0
        duck.execute("UPDATE warehouse.hard SET text = NULL WHERE number = 0")
        assert rows.merged(connection, contract, release, {""}) == 1
        assert connection.execute(held).fetchall() == [(0, None), *expected[1:]]
