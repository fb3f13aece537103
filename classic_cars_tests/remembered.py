"""What comes out the same for every run of a test process, and costs more than the run itself: worked out once.

A process of the platform carries out one run, a process of tests hundreds. Nothing here changes a result: the first
run in a process works everything out as it always does, and programs that tests start know nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from typing import Any

import duckdb

from classic_cars.assets import ALL_TABLES
from classic_cars.tables.table import Catalog, Table

#: What a catalog works out of its tables, by address.
WORKED_OUT = ("_expressions", "_origins", "_audited", "_code_versions")
#: As everywhere else.
connect = duckdb.connect


def install() -> None:
    load_extensions_without_reading_them_whole()
    share_catalogs()


def work_out_the_catalog() -> None:
    """Before the first run needs it: for a process whose forks carry the runs out."""
    catalog = Catalog(ALL_TABLES)
    for each in ALL_TABLES:
        catalog.code_version(each)
        catalog.audited_against(each)


def load_extensions_without_reading_them_whole() -> None:
    """Every ``LOAD`` hashes tens of megabytes to prove a signature: 0.1 s each time that an order system is read.

    ``end_to_end/test_extensions.py`` proves the signatures.
    """

    @wraps(connect)
    def connected(database: Any = ":memory:", read_only: bool = False, config: Any = None, **more: Any) -> Any:
        return connect(database, read_only, {**(config or {}), "allow_unsigned_extensions": True}, **more)

    duckdb.connect = connected


def share_catalogs() -> None:
    """A catalog of the platform's own tables finds what the first one worked out of them.

    With a function swapped, all but what is worked out of that function: the rest depends on the table's own function
    and on contracts.
    """
    made, first = Catalog.__init__, Catalog(ALL_TABLES)
    contracts = {each.address: each.contract for each in ALL_TABLES}

    @wraps(made)
    def knowing(self: Catalog, tables: Iterable[Table]) -> None:
        made(self, tables)
        if {each.address: id(each.contract) for each in self} != {name: id(each) for name, each in contracts.items()}:
            return
        same = {each.address for each in self if each is first[each.address]}
        for name in WORKED_OUT:
            known = getattr(first, name)
            setattr(self, name, known if len(same) == len(contracts) else {k: known[k] for k in same & known.keys()})

    Catalog.__init__ = knowing  # type: ignore[method-assign]
