"""Completeness: what is published plus what is quarantined is what the order system sent, rows and cents, per month.

Quarantined rows lower every total, so whoever is shown a total is shown this beside it. Reads the published tables
of a store and nothing else; the tables may be of different runs, and then the months that differ are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from classic_cars.months import FIRST_DAY, LAST_DAY
from classic_cars.stores.base import Reading

#: How many months a line for people names.
NAMED = 6


@dataclass(frozen=True)
class Tally:
    """Rows and the sum of their amounts, in USD; ``unknown`` of the rows have no amount, as a value did not fit."""

    rows: int = 0
    amount: Decimal = Decimal("0.00")
    unknown: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, self.amount + other.amount, self.unknown + other.unknown)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.rows - other.rows, self.amount - other.amount, self.unknown - other.unknown)


@dataclass(frozen=True)
class MonthBalance:
    """One month (``YYYY-MM``; empty for rows without a date): what is published, quarantined and in source."""

    month: str
    published: Tally = Tally()
    quarantined: Tally = Tally()
    source: Tally = Tally()

    @property
    def balanced(self) -> bool:
        return self.published + self.quarantined == self.source

    def __str__(self) -> str:
        return self.month or "no date"


@dataclass(frozen=True)
class Balance:
    """The completeness of one subject, per month. ``missing``: tables that were never published; then no months."""

    subject: str
    months: tuple[MonthBalance, ...] = ()
    missing: tuple[str, ...] = ()

    @cached_property
    def published(self) -> Tally:
        return sum((each.published for each in self.months), Tally())

    @cached_property
    def quarantined(self) -> Tally:
        return sum((each.quarantined for each in self.months), Tally())

    @cached_property
    def source(self) -> Tally:
        return sum((each.source for each in self.months), Tally())

    @property
    def unbalanced_months(self) -> list[MonthBalance]:
        return [each for each in self.months if not each.balanced]

    @property
    def balanced(self) -> bool:
        """Whether published + quarantined == source in every month, rows and cents. Never when a table is missing."""
        return not self.missing and not self.unbalanced_months

    @property
    def complete(self) -> bool:
        """Whether the published totals are those of the source: balanced, and nothing is quarantined."""
        return self.balanced and self.quarantined.rows == 0

    def line(self) -> str:
        """One line for people; says what is quarantined also when that is nothing."""
        if self.missing:
            return f"{self.subject}: {', '.join(self.missing)} never published"
        parts = [
            f"{self.subject}: {self.published.rows:,} published, {self.published.amount:,.2f}",
            f"quarantined {self.quarantined.rows:,}, {self.quarantined.amount:,.2f}{self._quarantined_details()}",
            f"source {self.source.rows:,}, {self.source.amount:,.2f}",
        ]
        if self.unbalanced_months:
            parts.append(f"NOT BALANCED in {_listed(self.unbalanced_months)}: {self._difference()}")
        return "; ".join(parts)

    def _quarantined_details(self) -> str:
        """The months, and rows whose amount the sum beside it cannot hold."""
        details = []
        if months := [each for each in self.months if each.quarantined.rows]:
            details.append(f"in {_listed(months)}")
        if self.quarantined.unknown:
            details.append(f"{self.quarantined.unknown:,} of unknown amount")
        return f" ({'; '.join(details)})" if details else ""

    def _difference(self) -> str:
        """What the unbalanced months lack and have too much, apart: one month does not make up for another."""
        lacking = [each.source - each.published - each.quarantined for each in self.unbalanced_months]
        missing, extra = _positive(lacking), _positive(Tally() - each for each in lacking)
        said = [f"{missing} of source missing"] if missing else []
        said += [f"{extra} more than in source"] if extra else []
        return ", ".join(said) or "other rows have an unknown amount than in source"


@dataclass(frozen=True)
class Subject:
    """What is balanced: a name for people, and of each side its table, its date and its amount, in SQL."""

    name: str
    published: tuple[str, str, str]
    quarantined: tuple[str, str, str]
    source: tuple[str, str, str]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(side[0] for side in (self.published, self.quarantined, self.source))

    @property
    def sql(self) -> str:
        """One row per side and month: side, month, rows, amount, rows of unknown amount."""
        sides = {"published": self.published, "quarantined": self.quarantined, "source": self.source}
        return " UNION ALL ".join(_side(name, *side) for name, side in sides.items())


def _side(name: str, address: str, day: str, amount: str) -> str:
    """Summed by day first: a month is then worked out for each day, and not for each of millions of rows."""
    return f"""
    SELECT '{name}' AS side, coalesce(strftime(day, '%Y-%m'), '') AS month, sum(row_count) AS row_count,
        coalesce(sum(amount), 0)::DECIMAL(38, 2) AS amount, sum(row_count - known) AS unknown
    FROM (
        SELECT day, count(*) AS row_count, sum(amount) AS amount, count(amount) AS known
        FROM (SELECT {day} AS day, {amount} AS amount FROM {address.replace("/", ".")}) GROUP BY day
    ) GROUP BY 2"""


#: Staging holds no other days: a payment of another day is published without one, and is of that month everywhere.
PAYMENT_DAY = f"CASE WHEN paymentDate BETWEEN DATE '{FIRST_DAY}' AND DATE '{LAST_DAY}' THEN paymentDate END"
LINE_AMOUNT = "quantityOrdered::DECIMAL(19, 0) * priceEach"
ORDER_LINES = Subject(
    "order lines",
    published=("warehouse/fact_orders", "orderDate", "orderAmount"),
    quarantined=("quarantine/orderdetails", "orderMonth", LINE_AMOUNT),
    source=("source/orderdetails", "orderMonth", LINE_AMOUNT),
)
PAYMENTS = Subject(
    "payments",
    published=("warehouse/fact_payments", PAYMENT_DAY, "amount"),
    quarantined=("quarantine/payments", PAYMENT_DAY, "amount"),
    source=("source/payments", PAYMENT_DAY, "amount"),
)
SUBJECTS = (ORDER_LINES, PAYMENTS)


def published_tally(tables: Reading, subject: str) -> Tally:
    """Rows and amounts of a subject, by its name, that these tables have published."""
    (side,) = (each.published for each in SUBJECTS if each.name == subject)
    found = tables.query(_side("published", *side)).read_all().to_pylist()
    tallies = (Tally(int(row["row_count"]), Decimal(row["amount"]), int(row["unknown"])) for row in found)
    return sum(tallies, Tally())


def balances(store: Reading) -> list[Balance]:
    """The balance of every subject, from the published tables. Raises ``StoreError`` when they cannot be read."""
    there = store.row_counts()
    return [balance(store, subject, there) for subject in SUBJECTS]


def balance(store: Reading, subject: Subject, there: Iterable[str] | None = None) -> Balance:
    """The balance of one subject; ``there``: addresses of the published tables, where they are known already."""
    known = set(store.row_counts() if there is None else there)
    missing = tuple(address for address in subject.addresses if address not in known)
    if missing:
        return Balance(subject.name, missing=missing)
    months: dict[str, dict[str, Tally]] = {}
    for row in store.query(subject.sql).read_all().to_pylist():
        tally = Tally(int(row["row_count"]), Decimal(row["amount"]), int(row["unknown"]))
        months.setdefault(row["month"], {})[row["side"]] = tally
    return Balance(subject.name, tuple(MonthBalance(month, **sides) for month, sides in sorted(months.items())))


def _listed(months: Sequence[MonthBalance]) -> str:
    return ", ".join(map(str, months[:NAMED])) + (", ..." if len(months) > NAMED else "")


def _positive(tallies: Iterable[Tally]) -> str:
    """What the positive rows and amounts come to, such as ``3 rows, 12.00``; empty when there are none."""
    tallies = list(tallies)
    rows = sum(max(each.rows, 0) for each in tallies)
    amount = sum((max(each.amount, Decimal(0)) for each in tallies), Decimal(0))
    parts = [f"{rows:,} {'row' if rows == 1 else 'rows'}"] if rows else []
    parts += [f"{amount:,.2f}"] if amount else []
    return ", ".join(parts)
