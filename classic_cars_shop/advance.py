"""Time passes in a shop: orders come in, leave the house, are held, disputed and paid; prices and people move.

Works on any shop that the simulator made, created or loaded, of any size: what it needs to know it asks the
database in a few small questions, and each day follows from the one before. Ten days are the same as five
days twice. Everything happens in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars.sources.landing import Landing
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import bulk, catalogue, database, lifecycle
from classic_cars_shop.columns import batch, day_number, day_of, days
from classic_cars_shop.faults import faults_set_aside, refuse_during_outage, refuse_while_drifted
from classic_cars_shop.generate import DECK
from classic_cars_shop.ownership import Mark, look, move_mark, owned
from classic_cars_shop.people import customer_row
from classic_cars_shop.plan import LAST_DAY_OF_ALL, ShopInputError
from classic_cars_shop.randomness import Ints, mixed, stream
from classic_cars_shop.ratings import Drop, todays_drop
from classic_cars_shop.seasons import day_weights
from classic_cars_shop.shop import Progress, silent

LONGEST = 3_660

#: The shop's rate is that of its last year; the business grows by this many percent against it.
YEAR, GROWTH = timedelta(days=365), 106

#: Products are as popular as they were in this many of the latest orders.
LATEST_ORDERS = 20_000

#: Of a thousand orders: what happens instead of shipping. Of a thousand customers or products in a year: what changes.
HELD, CANCELLED, DISPUTED = 12, 15, 14
NEW_CUSTOMERS, MOVES, PRICE_CHANGES = 250, 60, 300

#: Of a thousand orders on hold or disputed on a day: what is done about them.
RELEASED, GIVEN_UP, SETTLED = 40, 10, 50

#: No payment comes later than this after shipping.
PAYMENTS_END = timedelta(days=lifecycle.PAID_AFTER[1])

#: The largest number that the column of a key holds.
LARGEST_NUMBER = 2**31 - 1

#: Keys in one ``IN (...)``.
KEYS_AT_A_TIME = 500

#: How often buyers are sought among order numbers that may not exist, before all orders are read.
ATTEMPTS = 20


@dataclass
class AdvanceSummary:
    """What happened while time passed."""

    first_day: date
    last_day: date
    orders: int = 0
    lines: int = 0
    shipped: int = 0
    held: int = 0
    cancelled: int = 0
    disputed: int = 0
    resolved: int = 0
    payments: int = 0
    price_changes: int = 0
    new_customers: int = 0
    moves: int = 0
    ratings: int = 0

    def __str__(self) -> str:
        counts = [(f.name.replace("_", " "), getattr(self, f.name)) for f in fields(self)[2:]]
        return f"{self.first_day} to {self.last_day}: " + ", ".join(f"{count:,} {name}" for name, count in counts)


@dataclass
class OpenOrder:
    """An order on somebody's desk, or one whose payment is still to come."""

    number: int
    customer: int
    status: str
    ordered: int
    shipped: int | None


def advance(
    url: str, days: int, *, seed: int | None = None, landing: str | None = None, progress: Progress = silent
) -> AdvanceSummary:
    """Lets ``days`` days pass in a shop that the simulator made; raises ``ShopRefused`` for any other.

    What happens follows from the shop and ``seed``, by default the one that the shop was created with. ``landing``:
    where customers' ratings are dropped as files (``file:///folder`` or ``s3://bucket/prefix``); nowhere when None.
    When they cannot be dropped no day passes; whoever tries again drops the same files.
    """
    if not 1 <= days <= LONGEST:
        raise ShopInputError(f"days: found {days}, expected a number from 1 to {LONGEST:,}")
    source = SourceURL.parse(url)
    refuse_during_outage(source)
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        refuse_during_outage(source, connection)
        mark = owned(source, look(connection))
        refuse_while_drifted(source, connection)
        if mark.shop_date.toordinal() + days > LAST_DAY_OF_ALL.toordinal():
            raise ShopInputError(f"the shop is at {mark.shop_date}; it lives until {LAST_DAY_OF_ALL} at most")
        drops = []
        with faults_set_aside(connection):
            running = _RunningShop(connection, mark, mark.seed if seed is None else seed)
            for done in range(days):
                progress("days passed", done, days)
                running.live_one_day()
                drops.append(todays_drop(connection, running.seed, running.today) if landing else None)
        move_mark(connection, mark, running.today)
        if landing:
            running.summary.ratings = _deliver(landing, [each for each in drops if each is not None])
    return running.summary


def _deliver(landing: str, drops: Sequence[Drop]) -> int:
    """Drop the files; how many ratings they hold."""
    place = Landing(landing)
    for each in drops:
        place.put(each.name, each.data)
    return sum(each.ratings for each in drops)


class _RunningShop:
    """A shop with its open orders in memory; everything else stays in the database."""

    def __init__(self, connection: sa.Connection, mark: Mark, seed: int) -> None:
        self.connection, self.seed, self.today = connection, seed, mark.shop_date
        self.summary = AdvanceSummary(self.today + timedelta(days=1), self.today)
        self._orders_per_day = self._recent_days()
        self._open = self._open_orders()
        self._unpaid = self._awaiting_payment()
        self._next_order = self._next(shop.orders.c.orderNumber)
        self._next_customer = self._next(shop.customers.c.customerNumber)
        self._customers, self._products = self._count(shop.customers), self._count(shop.products)
        self._staff = self._representatives()
        self._codes, self._popularity = self._popular_products(self.today.replace(day=1))

    def live_one_day(self) -> None:
        """The office opens, works and closes; weekends are quiet, not empty."""
        self.today += timedelta(days=1)
        self._day = day_number(self.today)
        self._rng = stream(self.seed, "day", self._day)
        if self.today.day == 1:
            self._codes, self._popularity = self._popular_products(self.today)
        self._change_prices()
        self._move_customers()
        newcomers = self._welcome_customers()
        self._settle_open_orders()
        self._take_payments()
        self._take_orders(newcomers)
        self.summary.last_day = self.today

    # What the shop remembers ---------------------------------------------------------------------------

    def _next(self, key: sa.Column) -> int:
        return (self.connection.scalar(sa.select(sa.func.max(key))) or 0) + 1

    def _count(self, table: sa.Table) -> int:
        return self.connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def _recent_days(self) -> dict[date, int]:
        """Orders per day of the last year; days without any are missing."""
        day = shop.orders.c.orderDate
        query = sa.select(day, sa.func.count()).where(day > self.today - YEAR).group_by(day)
        return {row[0]: row[1] for row in self.connection.execute(query)}

    def _open_orders(self) -> dict[int, OpenOrder]:
        waiting = shop.orders.c.status.in_(["In Process", "On Hold", "Disputed"])
        return {order.number: order for order in self._read_orders(waiting)}

    def _awaiting_payment(self) -> dict[int, list[OpenOrder]]:
        """Orders that will be paid after today, by the day on which the payment is due."""
        shipped = shop.orders.c.shippedDate
        young = sa.and_(shipped > self.today - PAYMENTS_END, shop.orders.c.status.in_(["Shipped", "Resolved"]))
        due: dict[int, list[OpenOrder]] = {}
        for order in self._read_orders(young):
            self._expect_payment(due, order)
        return due

    def _expect_payment(self, due: dict[int, list[OpenOrder]], order: OpenOrder) -> None:
        day = int(lifecycle.due_days(np.array([order.number]), np.array([order.shipped]))[0])
        if day > day_number(self.today):
            due.setdefault(day, []).append(order)

    def _read_orders(self, condition: sa.ColumnElement[bool]) -> Iterator[OpenOrder]:
        o = shop.orders.c
        query = sa.select(o.orderNumber, o.customerNumber, o.status, o.orderDate, o.shippedDate).where(condition)
        for number, customer, status, ordered, shipped in self.connection.execute(query.order_by(o.orderNumber)):
            yield OpenOrder(number, customer, status, day_number(ordered), shipped and day_number(shipped))

    def _popular_products(self, month: date) -> tuple[list[str], Ints]:
        """Products and how often they were ordered lately, until ``month`` began; of a new shop, ever."""
        o, d = shop.orders.c, shop.orderdetails.c
        last = self.connection.scalar(sa.select(sa.func.max(o.orderNumber)).where(o.orderDate < month))
        last = last or self._next_order
        query = sa.select(d.productCode, sa.func.count()).where(d.orderNumber.between(last - LATEST_ORDERS, last))
        counts = {row[0]: row[1] for row in self.connection.execute(query.group_by(d.productCode))}
        codes = sorted(counts)
        return codes, np.array([counts[code] for code in codes], np.int64)

    # What happens on a day -----------------------------------------------------------------------------

    def _how_many(self, things: int, per_thousand_a_year: int) -> int:
        """How often something happens today that happens so often in a year; at most to every tenth thing."""
        expected = things * per_thousand_a_year * 1_000 // 365_000
        return min((expected + int(self._rng.integers(0, 1_000))) // 1_000, -(-things // 10))

    def _change_prices(self) -> None:
        """A new list price, up to 8% up or 5% down, and the purchase price with it."""
        p = shop.products.c
        count = self._how_many(self._products, PRICE_CHANGES)
        query = sa.select(p.productCode, _cents(p.buyPrice), _cents(p.MSRP)).order_by(p.productCode)
        for choice in self._rng.integers(0, max(self._products, 1), count).tolist():
            code, buy, msrp = self.connection.execute(query.offset(choice).limit(1)).one()
            percent = 95 + int(self._rng.integers(0, 14))
            changed = {"buyPrice": buy * percent // 100, "MSRP": msrp * percent // 100}
            if 0 < changed["MSRP"] < 10**9:
                amounts = {name: _amount(value) for name, value in changed.items()}
                self.connection.execute(sa.update(shop.products).where(p.productCode == code).values(**amounts))
                self.summary.price_changes += 1

    def _move_customers(self) -> None:
        """A customer moves to another street and code of the same country, often to another city."""
        c = shop.customers.c
        for _ in range(self._how_many(self._customers, MOVES)):
            # The first customer from a random number on: quick in a table of any size.
            chosen = int(self._rng.integers(0, self._next_customer))
            query = sa.select(c.customerNumber, c.country).order_by(c.customerNumber).limit(1)
            number, country = self.connection.execute(query.where(c.customerNumber >= chosen)).one()
            places = [p for p in catalogue.PLACES if p.country.strip() == country.strip()]
            if places:
                row = self._customer(number, places[int(self._rng.integers(0, len(places)))])
                moved = {name: row[name] for name in ("addressLine1", "addressLine2", "city", "state", "postalCode")}
                self.connection.execute(sa.update(shop.customers).where(c.customerNumber == number).values(**moved))
                self.summary.moves += 1

    def _welcome_customers(self) -> list[int]:
        """Numbers of today's new customers."""
        count = self._how_many(self._customers, NEW_CUSTOMERS)
        if not count:
            return []
        _refuse_when_used_up(shop.customers.c.customerNumber, self._next_customer, count)
        numbers = list(range(self._next_customer, self._next_customer + count))
        places = [place for place in catalogue.PLACES for _ in range(place.buyers)]
        chosen = self._rng.integers(0, len(places), count).tolist()
        rows = [self._customer(number, places[place]) for number, place in zip(numbers, chosen, strict=True)]
        self._insert(shop.customers, {name: [row[name] for row in rows] for name in rows[0]})
        self._next_customer += count
        self._customers += count
        self.summary.new_customers += count
        return numbers

    def _customer(self, number: int, place: catalogue.Place) -> dict[str, Any]:
        draws = self._rng.integers(0, 2**31, 12).tolist()
        luck = int(self._rng.integers(0, len(DECK)))
        territory = catalogue.TERRITORY_OF.get(place.country.strip(), "EMEA")
        everybody = [number for numbers in self._staff.values() for number in numbers]
        row = customer_row(number, place, True, luck, draws, 1, self._staff.get(territory, everybody))
        return dict(zip(shop.customers.columns.keys(), row, strict=True))

    def _representatives(self) -> dict[str, list[int]]:
        """Sales representatives by territory."""
        e, o = shop.employees.c, shop.offices.c
        query = sa.select(o.territory, e.employeeNumber).join_from(shop.employees, shop.offices)
        found: dict[str, list[int]] = {}
        for territory, number in self.connection.execute(
            query.where(e.jobTitle == "Sales Rep").order_by(e.employeeNumber)
        ):
            found.setdefault(territory, []).append(number)
        return found

    def _settle_open_orders(self) -> None:
        """Orders leave the house, or go on hold; held ones are released, disputes are resolved."""
        changes: list[OpenOrder] = []
        chances = self._rng.integers(0, 1_000, len(self._open)).tolist()
        for order, chance in zip(sorted(self._open.values(), key=lambda o: o.number), chances, strict=True):
            before = order.status
            if before == "In Process":
                self._process(order, chance)
            elif before == "On Hold":
                self._reconsider(order, chance)
            elif chance < SETTLED:
                order.status = "Resolved"
                self.summary.resolved += 1
                # Those who would have paid by now do so at last.
                self._unpaid.setdefault(max(self._day, self._due(order)), []).append(order)
            if order.status != before:
                changes.append(order)
        disputed = self._open_disputes()
        self._update_statuses([*changes, *disputed])
        for order in changes:
            if order.status not in ("In Process", "On Hold", "Disputed"):
                del self._open[order.number]

    def _due(self, order: OpenOrder) -> int:
        return int(lifecycle.due_days(np.array([order.number]), np.array([order.shipped or self._day]))[0])

    def _process(self, order: OpenOrder, chance: int) -> None:
        """Ships after as many days as the order's number says; a few are held or cancelled instead."""
        ready = order.ordered + int(lifecycle.SHIPPED_AFTER[mixed(np.array([order.number]), 4)[0] % 6, 0])
        if ready > self._day:
            return
        if chance < HELD:
            order.status = "On Hold"
            self.summary.held += 1
        elif chance < HELD + CANCELLED:
            order.status = "Cancelled"
            self.summary.cancelled += 1
        else:
            self._ship(order)

    def _reconsider(self, order: OpenOrder, chance: int) -> None:
        if chance < RELEASED:
            self._ship(order)
        elif chance < RELEASED + GIVEN_UP:
            order.status = "Cancelled"
            self.summary.cancelled += 1

    def _ship(self, order: OpenOrder) -> None:
        order.status, order.shipped = "Shipped", self._day
        self.summary.shipped += 1
        self._expect_payment(self._unpaid, order)

    def _open_disputes(self) -> list[OpenOrder]:
        """Of the orders that would be paid today, some are disputed instead."""
        due = self._unpaid.get(self._day, [])
        chances = self._rng.integers(0, 1_000, len(due)).tolist()
        disputed = [o for o, chance in zip(due, chances, strict=True) if chance < DISPUTED and o.status == "Shipped"]
        for order in disputed:
            order.status = "Disputed"
            self._open[order.number] = order
            self.summary.disputed += 1
        return disputed

    def _update_statuses(self, orders: Sequence[OpenOrder]) -> None:
        if not orders:
            return
        o = shop.orders.c
        statement = (
            sa.update(shop.orders)
            .where(o.orderNumber == sa.bindparam("number"))
            .values(status=sa.bindparam("new_status"), shippedDate=sa.bindparam("new_shipped"))
        )
        self.connection.execute(
            statement,
            [
                {"number": o.number, "new_status": o.status, "new_shipped": day_of(o.shipped) if o.shipped else None}
                for o in orders
            ],
        )

    def _take_payments(self) -> None:
        """Whoever is due today pays, unless the order was paid before or the customer owes less."""
        due = [order for order in self._unpaid.pop(self._day, []) if order.status in ("Shipped", "Resolved")]
        if not due:
            return
        due.sort(key=lambda order: order.number)
        totals, owed, paid, cheques = self._accounts(due)
        numbers = np.array([order.number for order in due])
        amounts = lifecycle.amounts_paid(numbers, np.array([totals.get(order.number, 0) for order in due], np.int64))
        chosen: list[tuple[OpenOrder, int, str]] = []
        for order, amount, cheque in zip(
            due, amounts.tolist(), lifecycle.check_numbers(numbers).to_pylist(), strict=True
        ):
            open_amount = owed.get(order.customer, 0) - sum(paid.get(order.customer, ()))
            known = (order.customer, cheque) in cheques
            if 0 < amount <= open_amount and amount not in paid.get(order.customer, ()) and not known:
                chosen.append((order, amount, cheque))
                paid.setdefault(order.customer, []).append(amount)
        self._insert(
            shop.payments,
            {
                "customerNumber": [order.customer for order, _, _ in chosen],
                "checkNumber": [cheque for _, _, cheque in chosen],
                "paymentDate": np.full(len(chosen), self._day),
                "amount": np.array([amount for _, amount, _ in chosen], np.int64),
            },
        )
        self.summary.payments += len(chosen)

    def _accounts(
        self, due: Sequence[OpenOrder]
    ) -> tuple[dict[int, int], dict[int, int], dict[int, list[int]], set[tuple[int, str]]]:
        """Totals of these orders; what their customers have ordered and paid in all; their cheques."""
        o, d, p = shop.orders.c, shop.orderdetails.c, shop.payments.c
        customer_of: dict[int, int] = {}
        totals: dict[int, int] = {}
        owed: dict[int, int] = {}
        paid: dict[int, list[int]] = {}
        cheques: set[tuple[int, str]] = set()
        for customers in _in_parts(sorted({order.customer for order in due})):
            orders = sa.select(o.orderNumber, o.customerNumber).where(o.customerNumber.in_(customers))
            shipped = orders.where(o.status.in_(["Shipped", "Resolved"]))
            customer_of.update((row[0], row[1]) for row in self.connection.execute(shipped))
            payments = sa.select(p.customerNumber, p.checkNumber, _cents(p.amount))
            for customer, cheque, cents in self.connection.execute(payments.where(p.customerNumber.in_(customers))):
                paid.setdefault(customer, []).append(int(cents))
                cheques.add((customer, cheque))
        worth = sa.select(d.orderNumber, sa.func.sum(d.quantityOrdered * _cents(d.priceEach))).group_by(d.orderNumber)
        for numbers in _in_parts(sorted(customer_of)):
            for number, cents in self.connection.execute(worth.where(d.orderNumber.in_(numbers))):
                totals[number] = int(cents)
                owed[customer_of[number]] = owed.get(customer_of[number], 0) + int(cents)
        return totals, owed, paid, cheques

    def _take_orders(self, newcomers: list[int]) -> None:
        """Today's orders: as many as the season and the shop's last year lead one to expect."""
        count = self._expected_orders() if self._codes else 0
        buyers = self._buyers(count)
        if self._codes:
            buyers += newcomers
        self._orders_per_day[self.today] = len(buyers)
        if not buyers:
            return
        _refuse_when_used_up(shop.orders.c.orderNumber, self._next_order, len(buyers))
        numbers = self._next_order + np.arange(len(buyers), dtype=np.int64)
        self._next_order += len(buyers)
        required = self._day + lifecycle.draw_after(self._rng, lifecycle.REQUIRED_AFTER, len(buyers))
        remarks = self._rng.integers(0, 5 * len(catalogue.SALES_REMARKS), len(buyers)).tolist()
        nothing = np.ones(len(buyers), bool)
        self._insert(
            shop.orders,
            {
                "orderNumber": numbers,
                "orderDate": np.full(len(buyers), self._day),
                "requiredDate": required,
                "shippedDate": days(required, missing=nothing),
                "status": ["In Process"] * len(buyers),
                "comments": [catalogue.SALES_REMARKS[r] if r < len(catalogue.SALES_REMARKS) else None for r in remarks],
                "customerNumber": buyers,
            },
        )
        self._insert_lines(numbers)
        self.summary.orders += len(buyers)
        for number, customer in zip(numbers.tolist(), buyers, strict=True):
            self._open[number] = OpenOrder(number, customer, "In Process", self._day, None)

    def _insert_lines(self, numbers: Ints) -> None:
        counts = lifecycle.draw_line_counts(self._rng, len(numbers), len(self._codes))
        lines = lifecycle.draw_lines(self._rng, counts, self._popularity, self._list_prices())
        self._insert(
            shop.orderdetails,
            {
                "orderNumber": numbers[lines.order],
                "productCode": pa.array(self._codes).take(pa.array(lines.product)),
                "quantityOrdered": lines.quantity,
                "priceEach": lines.price,
                "orderLineNumber": lines.number,
            },
        )
        self.summary.lines += len(lines.order)

    def _list_prices(self) -> Ints:
        """Today's list prices in cents, in the order of ``_codes``."""
        p = shop.products.c
        prices = {code: int(cents) for code, cents in self.connection.execute(sa.select(p.productCode, _cents(p.MSRP)))}
        return np.array([prices[code] for code in self._codes], np.int64)

    def _expected_orders(self) -> int:
        """The last year's orders, by today's share of a year's business."""
        first = self.today - YEAR
        passed = {day: count for day, count in self._orders_per_day.items() if first <= day < self.today}
        if not passed:
            return 0
        business = int(day_weights(min(passed), self.today - timedelta(days=1)).sum())
        weight = int(day_weights(self.today, self.today)[0])
        thousandths = sum(passed.values()) * weight * GROWTH * 10 // business
        return (thousandths + int(self._rng.integers(0, 1_000))) // 1_000

    def _buyers(self, count: int) -> list[int]:
        """Customers of past orders taken at random: who orders often will order often."""
        if not count:
            return []
        o = shop.orders.c
        first = self.connection.scalar(sa.select(sa.func.min(o.orderNumber))) or 0
        found: list[int] = []
        # Numbers can have gaps in a loaded shop: small ones are passed over.
        for _ in range(ATTEMPTS):
            drawn = self._rng.integers(first, self._next_order, (count - len(found)) * 5 // 4 + 5).tolist()
            known: dict[int, int] = {}
            for numbers in _in_parts(sorted(set(drawn))):
                query = sa.select(o.orderNumber, o.customerNumber).where(o.orderNumber.in_(numbers))
                known.update((row[0], row[1]) for row in self.connection.execute(query))
            found += [known[number] for number in drawn if number in known]
            if len(found) >= count:
                return found[:count]
        buyers = list(self.connection.scalars(sa.select(o.customerNumber).order_by(o.orderNumber)))
        places = self._rng.integers(0, max(len(buyers), 1), count - len(found) if buyers else 0)
        return found + [buyers[place] for place in places.tolist()]

    def _insert(self, table: sa.Table, columns: dict[str, Any]) -> None:
        bulk.insert(self.connection, table, [batch(table, columns)], lambda _table, _rows: None)


def _refuse_when_used_up(key: sa.Column, first: int, count: int) -> None:
    """Raises ``ShopRefused`` when there are not so many numbers left."""
    if first + count - 1 > LARGEST_NUMBER:
        raise ShopRefused(
            f"{key}: found {first - 1:,}, expected room for {count} more below {LARGEST_NUMBER:,}, the largest number "
            "that the column holds; nothing was changed; load the shop again with smaller numbers"
        )


def _cents(amount: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """An amount as integer cents, the same in databases with and without decimals."""
    return sa.cast(sa.func.round(sa.type_coerce(amount, sa.Float) * 100), sa.BigInteger)


def _amount(cents: int) -> Any:
    """Cents as a number in SQL, which is exact in every database."""
    return sa.literal_column(f"{cents // 100}.{cents % 100:02d}")


def _in_parts(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), KEYS_AT_A_TIME):
        yield keys[start : start + KEYS_AT_A_TIME]
