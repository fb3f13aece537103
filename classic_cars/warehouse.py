"""The warehouse in Python: tables and metrics of one release, read-only, for notebooks and programs.

    from classic_cars import warehouse

    with warehouse.open() as release:
        print(release)  # release 12, 4 minutes old; order lines: 2,996 published, 9,604,190.61; ...
        sales = release.metrics("netSales", by="country", period="2004").to_pandas()

Everything is an Ibis table, which nothing is read for until it is asked: ``to_pandas()``, ``to_polars()`` and
``to_pyarrow()`` fetch it, as long as the release is open. No run is waited for, and none waits. ``docs/sdk.md`` has a
cookbook.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import Contract
from classic_cars.errors import TableMissing
from classic_cars.serving.metrics import ask, expression, facts_about, hints
from classic_cars.serving.releases import Release, opened, pending
from classic_cars.settings import Settings, load_settings
from classic_cars.stores.base import Reading

__all__ = ["OpenRelease", "describe", "open"]

#: One name, names with commas between them, or a list of names.
Names = str | Sequence[str]

_CONTRACTS: dict[str, Contract] = {table.address: table.contract for table in ALL_TABLES}


@dataclass(frozen=True)
class OpenRelease:
    """Tables that agree with each other and with the order system, and what proves it. Amounts in USD."""

    _release: Release
    _tables: Reading

    @property
    def number(self) -> int:
        return self._release.number

    @property
    def made(self) -> datetime:
        """In UTC."""
        return self._release.made

    @property
    def age(self) -> timedelta:
        return datetime.now(UTC) - self.made

    @property
    def proof(self) -> tuple[str, ...]:
        """A line for each fact: rows and amounts that are published, quarantined and in source, which add up."""
        return tuple(each.line() for each in self._release.balances)

    @property
    def proven(self) -> datetime | None:
        """When the data was last compared with the live order system and found equal, as far as the release knows."""
        return self._release.proven

    def __str__(self) -> str:
        return "; ".join([self._release.line(), *self.proof])

    @property
    def tables(self) -> list[str]:
        """The names of all tables: ``layer.name``."""
        return [address.replace("/", ".") for address in self._release.tables]

    def table(self, name: str) -> ibis.Table:
        """A table, such as ``analytics.sales_by_country``. Raises ``TableMissing`` when the release has none."""
        contract = _CONTRACTS.get(name.replace(".", "/"))
        if contract is None or contract.address not in self._release.tables:
            raise TableMissing(f"{name}: is not in release {self.number}, which has {', '.join(self.tables)}")
        return self._tables.read(contract)

    def metrics(
        self,
        measures: Names,
        *,
        by: Names | None = (),
        where: str | Sequence[str] | None = (),
        period: str | int | None = None,
        compare: str | None = None,
        top: int | None = None,
        share: bool = False,
    ) -> ibis.Table:
        """Measures, one row per value of the dimensions ``by``; docs/metrics.md has every name.

        ``where``: filters that must all hold, such as ``productLine=Planes``. ``period``: ``2004``, ``"2004-Q2"``,
        ``2003-06..2004-05``. ``compare``: ``year`` or ``before``. ``top``: only rows with most of the first measure.
        ``share``: with each measure its share of the total. Raises ``QuestionError`` that names what is wrong and what
        there is instead; warns of a filter's value that nothing has.
        """
        filters = [where] if isinstance(where, str) else where or ()
        days = str(period) if isinstance(period, int) else period
        question = ask(_names(measures), _names(by or ()), filters, days, compare, top, share)
        for each in hints(question, self._tables.read):
            warnings.warn(each, stacklevel=2)
        return expression(question, self._tables.read)

    def sql(self, query: str) -> pa.Table:
        """The result of one SELECT over ``layer.name``. Raises ``StoreError`` for what is wrong, or would write."""
        return self._tables.query(query).read_all()


@contextmanager
def open(number: int | None = None, settings: Settings | None = None) -> Iterator[OpenRelease]:
    """The current release, or an older one by its number, until the end of the ``with``.

    ``settings``: by default those of the environment. Raises ``TableMissing`` when there is no such release.
    """
    settings = settings or load_settings()
    with opened(settings, number) as found:
        if found is None:
            why = pending(settings) or "nothing was published yet"
            raise TableMissing(f"there is no release: {why}; `classic-cars run` makes one")
        yield OpenRelease(*found)


def describe(name: str) -> str:
    """What a measure, a dimension, a table (also by its name alone) or a column (``layer.name.column``) means.

    Raises ``QuestionError`` for a name that is none of them.
    """
    layer, _, rest = name.replace("/", ".").partition(".")
    table, _, column = rest.partition(".")
    alone = [each for each in _CONTRACTS.values() if each.name == name]
    contract = alone[0] if len(alone) == 1 else _CONTRACTS.get(f"{layer}/{table}")
    if contract is None or (column and column not in contract.types):
        description, facts = facts_about(name)
        return "\n".join([description, *(f"{title}: {text}" for title, text in facts.items())])
    return contract.describe(column) if column else contract.description


def _names(given: Names) -> list[str]:
    listed = given.split(",") if isinstance(given, str) else given
    return [name.strip() for name in listed if name.strip()]
