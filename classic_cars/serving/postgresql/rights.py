"""What the user of ``CLASSIC_CARS_SERVING_URL`` may do there, examined without changing anything."""

from __future__ import annotations

from typing import Any

from classic_cars.contracts.base import RELEASED
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import held
from classic_cars.serving.postgresql.connection import VARIABLE, Server, connected
from classic_cars.serving.postgresql.reader import READER

QUESTION = """
SELECT current_user, current_database(), current_setting('server_version'), current_setting('server_encoding'),
    has_database_privilege(current_database(), 'TEMP'),
    has_database_privilege(current_database(), 'CREATE'),
    ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%(schemas)s)),
    ARRAY(
        SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
        AND NOT (has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE'))
    ),
    (
        SELECT c.relowner::regrole::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(own)s AND c.relname = 'held' AND NOT pg_has_role(c.relowner, 'USAGE')
    ),
    EXISTS (SELECT FROM pg_roles WHERE rolname = %(reader)s),
    EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper)),
    pg_is_in_recovery()
"""


def examined(server: Server) -> str:
    """What was found. Raises ``ServingError`` that names each right that is missing, and how to grant it."""
    schemas = [*RELEASED, held.OWN]
    with connected(server) as connection:
        asked = {"schemas": schemas, "own": held.OWN, "reader": READER}
        (row,) = connection.execute(QUESTION, asked).fetchall()
        if missing := _missing(row, schemas):
            raise ServingError(f"{server}: {'; '.join(missing)}")
        holding = held.holding(connection)
    holds = f"holds release {holding.number}" if holding is not None else "holds no release yet"
    return f"{server}: PostgreSQL {row[2]}, {holds}"


def _missing(row: tuple[Any, ...], schemas: list[str]) -> list[str]:
    user, database, _, encoding, temporary, creates, there, closed, owner, has_reader, makes_roles, replica = row
    missing = []
    if owner:
        # Whatever it were granted, it could not alter what is there.
        return [
            f'the tables there belong to {owner}, and this user is "{user}": name {owner} in {VARIABLE}, or '
            f'GRANT {owner} TO "{user}"'
        ]
    if replica:
        missing.append("it is a replica, which cannot be written: name the primary")
    if encoding != "UTF8":
        missing.append(f"its encoding is {encoding}, expected UTF8: CREATE DATABASE ... ENCODING 'UTF8'")
    if not temporary:
        missing.append(f'GRANT TEMPORARY ON DATABASE "{database}" TO "{user}"')
    missing += [f'GRANT CREATE, USAGE ON SCHEMA "{each}" TO "{user}" WITH GRANT OPTION' for each in closed]
    if not creates and set(there) != set(schemas):
        missing.append(f'GRANT CREATE ON DATABASE "{database}" TO "{user}"')
    if not has_reader and not makes_roles:
        missing.append(f"CREATE ROLE {READER} NOLOGIN")
    return missing
