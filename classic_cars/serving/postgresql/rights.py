"""What the user of ``CLASSIC_CARS_SERVING_URL`` may do there, examined without changing anything."""

from __future__ import annotations

from classic_cars.contracts.base import RELEASED
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import held
from classic_cars.serving.postgresql.connection import Server, connected
from classic_cars.serving.postgresql.reader import READER

QUESTION = """
SELECT current_user, current_database(), current_setting('server_version'), current_setting('server_encoding'),
    has_database_privilege(current_database(), 'TEMP'),
    has_database_privilege(current_database(), 'CREATE'),
    ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%s) AND has_schema_privilege(oid, 'CREATE')),
    EXISTS (SELECT FROM pg_roles WHERE rolname = %s),
    EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper)),
    pg_is_in_recovery()
"""


def examined(server: Server) -> str:
    """What was found. Raises ``ServingError`` that names each right that is missing, and how to grant it."""
    schemas = [*RELEASED, held.OWN]
    with connected(server) as connection:
        (row,) = connection.execute(QUESTION, (schemas, READER)).fetchall()
        holding = held.holding(connection)
    user, database, version, encoding, temporary, creates, usable, has_reader, makes_roles, replica = row
    missing = []
    if replica:
        missing.append("it is a replica, which cannot be written: name the primary")
    if encoding != "UTF8":
        missing.append(f"its encoding is {encoding}, expected UTF8: CREATE DATABASE ... ENCODING 'UTF8'")
    if not temporary:
        missing.append(f'GRANT TEMPORARY ON DATABASE "{database}" TO "{user}"')
    if not creates and set(usable) != set(schemas):
        missing.append(f'GRANT CREATE ON DATABASE "{database}" TO "{user}"')
    if not has_reader and not makes_roles:
        missing.append(f"CREATE ROLE {READER} NOLOGIN")
    if missing:
        raise ServingError(f"{server}: {'; '.join(missing)}")
    holds = f"holds release {holding.number}" if holding is not None else "holds no release yet"
    return f"{server}: PostgreSQL {version}, {holds}"
