"""Plants one bug, makes the tables that it reaches, and says what stopped it.

No Dagster: the steps are those that its assets take. Nothing is ever published: all steps of a mutant share one
transaction, in which a step reads what those before it staged, and which is discarded when the verdict is known.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import ibis
import pyarrow as pa

from classic_cars import checks
from classic_cars.assets import ALL_TABLES
from classic_cars.checks.base import Audit, CheckOutcome
from classic_cars.contracts.base import Contract
from classic_cars.errors import ClassicCarsError, ContractError
from classic_cars.months import Months
from classic_cars.settings import Settings
from classic_cars.sources.landing import Landing
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores.base import Provenance
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.stores.duckdb.transaction import DuckDBTransaction
from classic_cars.tables.materialize import from_tables
from classic_cars.tables.outside import from_outside
from classic_cars.tables.step import Outcome, Step
from classic_cars.tables.table import Catalog, Table
from classic_cars_tests.mutation import shop
from classic_cars_tests.mutation.mutant import Mutant

STOPPED, SURVIVED, EQUIVALENT, BROKEN = "stopped", "survived", "equivalent", "broken"
#: The layer whose tables keep what they have: a mutant needs it without them.
LANDED = ("source.ratings", "source.ratings_files", "source.stock_counts", "source.stock_counts_files")
#: The published tables, for comparison.
ORIGINAL = "original.duckdb"
#: Of quarantined rows, what differs from run to run.
OF_THE_RUN = ("_run_id", "_contract_version")
AT_LOAD, IN_STEP = "load", "error in the step"

Rows = Counter[tuple[str, ...]]


def _until_one_fails(audit: Audit) -> list[CheckOutcome]:
    """The verdicts of the checks in their order, as ``checks.evaluated``, until one of them blocks."""
    verdicts: list[CheckOutcome] = []
    for check in checks.checks_of(audit.contract, audit.origins):
        verdicts.append(check.evaluate(audit))
        if not verdicts[-1].passed and not verdicts[-1].warning:
            break
    return verdicts


#: What makes hundreds of mutants a matter of minutes, and changes no verdict: no check after the one that blocks, and
#: no samples of what differs.
HASTE = {
    "classic_cars.tables.materialize.evaluated": _until_one_fails,
    "classic_cars.tables.landed.evaluated": _until_one_fails,
    "classic_cars.checks.columns._samples": lambda *_: {},
    "classic_cars.checks.rules.sample": lambda *_: [],
    "classic_cars.checks.quarantine.sample": lambda *_: [],
}


def _compiling_once(store: DuckDBStore) -> None:
    """Checks ask the same of each mutant of a table: Ibis writes it down once, which takes longer than the answer."""
    backend, known = store.backend, {}
    compiled = backend.compile

    def compile_once(expression: Any, **options: Any) -> str:
        if options.get("params"):
            return compiled(expression, **options)
        key = (expression.op(), *sorted(options.items(), key=str))
        if key not in known:
            known[key] = compiled(expression, **options)
        return known[key]

    backend.compile = compile_once


@dataclass(frozen=True)
class Result:
    """What became of a mutant. ``where`` and ``by``: the table and its check, ``load`` when the catalog refused it."""

    mutant: Mutant
    state: str
    where: str = ""
    by: str = ""
    said: str = ""
    #: Tables whose rows were wrong and publishable before something stopped the bug further down.
    passed: tuple[str, ...] = ()
    #: Of a survivor: a few of the wrong values.
    wrong: str = ""

    @property
    def fine(self) -> bool:
        return self.state == STOPPED


class Refused(Exception):
    """The tables as they are cannot be published: nothing can be learned from mutants of them."""


def publish_template(home: Path) -> None:
    """The tiny shop, and every table of it published, in ``home``."""
    shop.create(home)
    bench = Bench(home)
    for table in bench.in_order:
        outcome = bench.made(bench.catalog, table, bench.transaction(bench.store))
        if not outcome.publishable or outcome.staged is None:
            raise Refused(f"{table.address}, as it is: {_blocking(outcome)}")
        outcome.staged.publish()
    bench.close()
    shutil.copy(bench.store.path, home / ORIGINAL)


class Unpublished(DuckDBTransaction):
    """Reads what it staged as if it were published: a mutant's tables are made from each other."""

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        self._execute("SELECT 1")
        return self._store.read(contract, months)


@dataclass
class _Course:
    """One mutant on its way through the tables."""

    catalog: Catalog
    tx: Unpublished
    store: DuckDBStore
    changed: set[str] = field(default_factory=set)
    passed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Bench:
    """A copy of the template in which mutants are planted, one after the other. Not for several threads."""

    def __init__(self, home: Path, template: Path | None = None) -> None:
        if template is not None:
            shutil.copytree(template, home)
        self.home = home
        settings = Settings(home=home)
        self.store = DuckDBStore(settings.store_path, config={"threads": 1})
        self.systems: dict[str, Any] = {
            "order_system": open_order_system(settings.order_system_url),
            "landing": Landing(settings.landing_location),
        }
        self.catalog = Catalog(ALL_TABLES)
        for each in self.catalog:
            self.catalog.origins(each)
        self.in_order = _in_order(self.catalog)
        _compiling_once(self.store)
        self._originals: dict[str, Rows] = {}
        self._transactions: dict[Path, Unpublished] = {}
        self._unlanded: DuckDBStore | None = None

    def close(self) -> None:
        for each in self._transactions.values():
            each.discard()
        self._transactions.clear()
        for store in (self.store, self._unlanded):
            if store is not None:
                store.release()

    def transaction(self, store: DuckDBStore) -> Unpublished:
        """The one in which all tables of a store are made; in no `with`, so that the file stays open."""
        return self._transactions.setdefault(store.path, Unpublished(store, Provenance("mutation", "")))

    def judge(self, mutant: Mutant) -> Result:
        """Plant the bug, follow it down, and take it out again."""
        try:
            with ExitStack() as stack:
                for target, value in (HASTE | dict(mutant.patches)).items():
                    stack.enter_context(mock.patch(target, value))
                return self._judged(mutant)
        except Exception as error:  # a mutant that cannot be planted is an error of the table of mutants
            return Result(mutant, BROKEN, said=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
        finally:
            for each in self._transactions.values():
                each.discard()

    def _judged(self, mutant: Mutant) -> Result:
        planted = mutant.planted(self.catalog)
        address = ""
        try:
            catalog = self._catalog(planted)
            for each in planted:
                address = each.address
                catalog.origins(catalog[address])
        except ContractError as error:
            return Result(mutant, STOPPED, address, AT_LOAD, str(error))
        addresses = {each.address for each in planted}
        store = self._store_for(addresses)
        course = _Course(catalog, self.transaction(store), store)
        found: Result | None = None
        for each in (catalog[original.address] for original in self.in_order):
            is_mutated = each.address in addresses
            if not is_mutated and not course.changed & self._reads(catalog, each):
                continue
            stopped = self._step(mutant, course, each)
            if stopped is None:
                continue
            found = found or stopped
            if len(addresses) == 1:
                return stopped
        return self._concluded(mutant, course, addresses, found)

    def _concluded(self, mutant: Mutant, course: _Course, addresses: set[str], found: Result | None) -> Result:
        """Of several tables that share the bug, each that it changes must be stopped."""
        through = [each for each in course.passed if each in addresses]
        if found is not None and not through:
            return found
        if not course.changed and found is None:
            return Result(mutant, EQUIVALENT, said="changes no row of the tables that it is planted in")
        return Result(mutant, SURVIVED, where=", ".join(course.passed), wrong="; ".join(course.wrong))

    def _step(self, mutant: Mutant, course: _Course, table: Table) -> Result | None:
        """Make one table; the result when something stopped it."""
        passed = tuple(course.passed)
        try:
            outcome = self.made(course.catalog, table, course.tx)
        except ContractError as error:
            return Result(mutant, STOPPED, table.address, AT_LOAD, str(error), passed)
        except (ClassicCarsError, duckdb.Error, pa.ArrowException) as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            return Result(mutant, STOPPED, table.address, IN_STEP, said, passed)
        differing = self._differing(course.store, table.contract) if outcome.staged is not None else ["no rows"]
        if differing:
            course.changed.add(table.address)
        if not outcome.publishable:
            if not differing:
                return None
            check = next(each for each in outcome.verdicts if not each.passed and not each.warning)
            return Result(mutant, STOPPED, table.address, check.check, check.summary, passed)
        if differing:
            course.passed.append(table.address)
            course.wrong.append(f"{table.address}: {differing[0]}")
        return None

    def made(self, catalog: Catalog, table: Table, tx: Unpublished) -> Outcome:
        step = Step(catalog, table, tx, "mutation", shop.MONTHS if table.contract.partitioned_by else None)
        if table.arrives_from is not None:
            return from_outside(step, self.systems[table.arrives_from.system])
        return from_tables(step)

    def _catalog(self, planted: Sequence[Table]) -> Catalog:
        """A catalog with the bug in it; what is known of the other tables need not be worked out again."""
        new = {each.address: each for each in planted}
        catalog = Catalog([new.get(each.address, each) for each in self.catalog])
        for kept, known in (
            (catalog._expressions, self.catalog._expressions),
            (catalog._origins, self.catalog._origins),
        ):
            kept.update({address: each for address, each in known.items() if address not in new})
        return catalog

    @staticmethod
    def _reads(catalog: Catalog, table: Table) -> set[str]:
        """Tables that its rows or its proof are made from."""
        found = {each.address for each in catalog.inputs(table).values()}
        return found | {address.replace("quarantine/", "staging/") for address in catalog.audited_against(table)}

    def _store_for(self, addresses: set[str]) -> DuckDBStore:
        """The store; for bugs in loading files, one in which no file was loaded yet."""
        if not {"source/ratings", "source/stock_counts"} & addresses:
            return self.store
        if self._unlanded is None:
            self.store.release()
            path = self.store.path.parent / "unlanded" / self.store.path.name
            path.parent.mkdir()
            shutil.copy(self.store.path, path)
            with duckdb.connect(str(path)) as connection:
                for name in LANDED:
                    connection.execute(f"DROP TABLE {name}")
            self._unlanded = DuckDBStore(path, config={"threads": 1})
            _compiling_once(self.store)
            _compiling_once(self._unlanded)
        return self._unlanded

    def _differing(self, store: DuckDBStore, contract: Contract) -> list[str]:
        """A few of the rows, of the table and of its quarantine, that are not those of the original."""
        contracts = [contract, *([contract.quarantine] if contract.quarantines else [])]
        found: list[str] = []
        for each in contracts:
            new, old = _rows(store, each), self._original(each)
            if new != old:
                wrong, right = next(iter((new - old).items()), None), next(iter((old - new).items()), None)
                found.append(_shown(each, wrong[0] if wrong else None, right[0] if right else None))
        return found

    def _original(self, contract: Contract) -> Rows:
        if contract.address not in self._originals:
            with duckdb.connect() as connection:
                connection.execute(f"ATTACH '{self.home / ORIGINAL}' AS original (READ_ONLY)")
                columns = ", ".join(f'"{name}"' for name in _compared(contract))
                rows = connection.execute(f'SELECT {columns} FROM original."{contract.layer}"."{contract.name}"')
                self._originals[contract.address] = Counter(tuple(map(repr, row)) for row in rows.fetchall())
        return self._originals[contract.address]


def _compared(contract: Contract) -> list[str]:
    return [name for name in contract.types.names if name not in OF_THE_RUN]


def _rows(store: DuckDBStore, contract: Contract) -> Rows:
    columns = ", ".join(f'"{name}"' for name in _compared(contract))
    rows = store.backend.con.execute(f'SELECT {columns} FROM "{contract.layer}"."{contract.name}"').fetchall()
    return Counter(tuple(map(repr, row)) for row in rows)


def _shown(contract: Contract, wrong: tuple[str, ...] | None, right: tuple[str, ...] | None) -> str:
    """A row that is wrong, in the columns that differ from the nearest right one."""
    if wrong is None or right is None:
        return f"row {'missing' if wrong is None else 'added'}: {right or wrong}"
    names = _compared(contract)
    parts = [f"{name} {new} instead of {old}" for name, new, old in zip(names, wrong, right, strict=True) if new != old]
    return ", ".join(parts[:3])


def _blocking(outcome: Outcome) -> str:
    return "; ".join(
        f"{each.check}: {each.summary}" for each in outcome.verdicts if not each.passed and not each.warning
    )


def _in_order(catalog: Catalog) -> list[Table]:
    """Each table after those that it, or its proof, is made from."""
    done: dict[str, Table] = {}

    def visit(table: Table) -> None:
        if table.address in done:
            return
        for each in catalog.inputs(table).values():
            visit(each)
        for address in catalog.needed_for_audit(table):
            visit(catalog[address])
        done[table.address] = table

    for each in catalog:
        visit(each)
    return list(done.values())
