"""The role of those who read. It is granted what is new, once: what an administrator takes from it stays taken."""

from __future__ import annotations

from collections.abc import Collection

from psycopg import errors

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql.connection import Connection
from classic_cars.serving.postgresql.held import OWN
from classic_cars.stores.sql import quoted, table_name

#: May read every released table, and nothing else; whoever asks is granted it.
READER = "classic_cars_reader"
KNOWN = f"""
SELECT EXISTS (
    SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
    WHERE n.nspname = ANY(%(schemas)s) AND a.grantee = '{READER}'::regrole
) OR EXISTS (
    SELECT FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace::regnamespace::text = ANY(%(schemas)s) AND a.grantee = '{READER}'::regrole
)
"""


def made(connection: Connection) -> bool:
    """Make the role, if there is none; whether it has no right in the platform's schemas: it is new to them."""
    if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (READER,)).fetchall():
        try:
            connection.execute(f"CREATE ROLE {READER} NOLOGIN")
        except errors.InsufficientPrivilege:
            raise ServingError(
                f"PostgreSQL has no role {READER}, and this user may not create it; as an administrator: "
                f"CREATE ROLE {READER} NOLOGIN"
            ) from None
    ((known,),) = connection.execute(KNOWN, {"schemas": [*RELEASED, OWN]}).fetchall()
    return not known


def granted_own(connection: Connection) -> None:
    """Which release is held."""
    connection.execute(f"GRANT USAGE ON SCHEMA {OWN} TO {READER}")
    connection.execute(f"GRANT SELECT ON {OWN}.release TO {READER}")


def granted(connection: Connection, contracts: Collection[Contract], older: Collection[str]) -> None:
    """These tables; their schemas, too, but those in which the role may know ``older`` tables already."""
    for layer in sorted({each.layer for each in contracts} - {address.partition("/")[0] for address in older}):
        connection.execute(f"GRANT USAGE ON SCHEMA {quoted(layer)} TO {READER}")
    for each in contracts:
        connection.execute(f"GRANT SELECT ON {table_name(each)} TO {READER}")
