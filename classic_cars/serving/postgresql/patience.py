"""How long PostgreSQL is waited for: for whoever loads it at the moment, and for a load in all.

A run has other things to do: what does not come to its end soon is left to the next release. Locks are ones that
nobody can take who may only read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from psycopg import errors

from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import held
from classic_cars.serving.postgresql.connection import Connection

progress = logging.getLogger("classic_cars.progress")

#: No reader may take it; it keeps neither readers waiting nor those who change a table by hand.
LOCK = f"LOCK TABLE {held.OWN}.held IN SHARE UPDATE EXCLUSIVE MODE"
#: Before the table is there; only whoever sets up the database at the same moment takes it.
FIRST = "SELECT pg_advisory_xact_lock(hashtext('classic-cars'))"
#: Changes of columns wait for readers, and others wait behind them: not for long.
READERS = 30


@dataclass(frozen=True)
class Patience:
    """Seconds: ``turn`` until another load is done, ``longest`` for the load itself."""

    turn: int
    longest: int


#: For whoever asked for nothing else, and within a run.
PATIENT, BRIEF = Patience(turn=600, longest=6 * 3600), Patience(turn=5, longest=600)


def alone(connection: Connection, turn: int) -> None:
    """One load at a time: who comes second finds the release that is current when the first is done.

    Raises ``ServingError`` when it is not done after ``turn`` seconds.
    """
    try:
        if held.is_set_up(connection) and _free(connection):
            return
        connection.execute(f"SET LOCAL lock_timeout = '{turn}s'")
        if not held.is_set_up(connection):
            connection.execute(FIRST)
        if held.is_set_up(connection):  # by now
            connection.execute(LOCK)
    except errors.LockNotAvailable:
        raise ServingError(
            f"another load was not done after {turn} s: `classic-cars releases serve` waits longer, and "
            "pg_stat_activity shows who holds a lock on platform.held"
        ) from None
    finally:
        if connection.info.transaction_status.name == "INTRANS":
            connection.execute(f"SET LOCAL lock_timeout = '{READERS}s'")


def _free(connection: Connection) -> bool:
    """Whether nobody had to be waited for."""
    try:
        with connection.transaction():
            connection.execute(f"{LOCK} NOWAIT")
    except errors.LockNotAvailable:
        progress.info("PostgreSQL: waiting for another load")
        return False
    return True
