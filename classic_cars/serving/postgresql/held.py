"""What PostgreSQL remembers of the release that it holds: in a schema of the platform's own, with the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from classic_cars.serving.postgresql.connection import Connection
from classic_cars.serving.releases import Release
from classic_cars.stores.sql import quoted

OWN = "platform"
#: By month (``""``: all of the table), a mark of its rows; None when nobody knows what the table holds.
Marks = Mapping[str, str] | None

#: Whoever changes a table, but for the platform itself, makes what is remembered of it worthless.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION {OWN}.changed_by_hand() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF current_setting('classic_cars.refreshing', true) IS DISTINCT FROM 'on' THEN
        UPDATE {OWN}.held SET marks = NULL WHERE address = TG_TABLE_SCHEMA || '/' || TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
"""
SET_UP = (
    f"CREATE TABLE {OWN}.release (number bigint PRIMARY KEY, made timestamptz NOT NULL, run text NOT NULL, "
    "proven timestamptz, proof text NOT NULL, loaded timestamptz NOT NULL)",
    f"COMMENT ON TABLE {OWN}.release IS 'The release that the tables of this database hold; one row'",
    f"COMMENT ON COLUMN {OWN}.release.number IS 'As `classic-cars releases` lists it'",
    f"COMMENT ON COLUMN {OWN}.release.made IS 'When the release was made'",
    f"COMMENT ON COLUMN {OWN}.release.run IS 'The run after which it was made'",
    f"COMMENT ON COLUMN {OWN}.release.proven IS 'When last proven equal to source, as known when it was made'",
    f"COMMENT ON COLUMN {OWN}.release.proof IS 'Rows and amounts published, quarantined and in source'",
    f"COMMENT ON COLUMN {OWN}.release.loaded IS 'When this database came to hold it'",
    f"CREATE TABLE {OWN}.held (address text PRIMARY KEY, marks jsonb)",
    f"COMMENT ON TABLE {OWN}.held IS 'What the platform loaded of each table; NULL when somebody else changed it'",
    FUNCTION,
)


def make_schemas(connection: Connection, layers: Iterable[str]) -> None:
    """Those that are absent: ``IF NOT EXISTS`` needs the right to create them, too, where they are there."""
    there = {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}
    for name in sorted({OWN, *layers} - there):
        connection.execute(f"CREATE SCHEMA {quoted(name)}")


def is_set_up(connection: Connection) -> bool:
    (there,) = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{OWN}.held",)).fetchone() or (False,)
    return bool(there)


@dataclass(frozen=True)
class Holding:
    """What tells the release that is held from every other one; homes number theirs apart."""

    number: int
    made: datetime
    run: str

    def line(self) -> str:
        return f"release {self.number} (made {self.made.astimezone(UTC):%Y-%m-%d %H:%M} UTC, run {self.run})"


def holding(connection: Connection) -> Holding | None:
    """The release that is held; None when there is none."""
    if not is_set_up(connection):
        return None
    row = connection.execute(f"SELECT number, made, run FROM {OWN}.release").fetchone()
    return Holding(*row) if row else None


def all_marks(connection: Connection) -> dict[str, Marks]:
    """Of every table that the platform made, by address."""
    return {row[0]: row[1] for row in connection.execute(f"SELECT address, marks FROM {OWN}.held")}


def remember(connection: Connection, address: str, marks: Mapping[str, str]) -> None:
    connection.execute(
        f"INSERT INTO {OWN}.held VALUES (%s, %s) ON CONFLICT (address) DO UPDATE SET marks = EXCLUDED.marks",
        (address, json.dumps(marks)),
    )


def forget(connection: Connection, address: str) -> None:
    connection.execute(f"DELETE FROM {OWN}.held WHERE address = %s", (address,))


def hold(connection: Connection, release: Release) -> None:
    """Readers see it from the commit on, with the tables."""
    proof = "\n".join(each.line() for each in release.balances)
    connection.execute(f"DELETE FROM {OWN}.release")
    connection.execute(
        f"INSERT INTO {OWN}.release VALUES (%s, %s, %s, %s, %s, now())",
        (release.number, release.made, release.run_id, release.proven, proof),
    )
