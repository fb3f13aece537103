"""The rows of a new shop: a plan in, Arrow batches per table out. Pure: no database, no files, no clock.

Each table's rows follow from the plan alone, in parts that each have their own random numbers. So memory
does not grow with the shop beyond a few bytes per order, and the tables can be written one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars_shop import catalogue as words
from classic_cars_shop import lifecycle
from classic_cars_shop.columns import batch, day_number, days
from classic_cars_shop.people import Person, customer_row, email
from classic_cars_shop.plan import PRODUCTS, ShopPlan
from classic_cars_shop.randomness import Ints, shuffled_decks, stream

#: Orders that are made at a time: some 150,000 lines.
ORDERS_AT_A_TIME = 16_384
CUSTOMERS_AT_A_TIME = 16_384

FIRST_ORDER, FIRST_CUSTOMER, FIRST_EMPLOYEE = 10_100, 103, 1_002

#: Orders that 98 customers place: most come two to four times, two are the shop's best friends.
ORDERS_OF_BUYERS = np.array([26, 17, 1] + [2] * 30 + [3] * 43 + [4] * 17 + [5] * 5, np.int64)

#: Days between the order and the shipment of a late one: later than any customer asked for.
LATE_AFTER = (13, 65)

#: Every place of the catalogue once for each of its customers, buyers and sleepers.
DECK = tuple((place, n < place.buyers) for place in words.PLACES for n in range(place.buyers + place.sleepers))


class CustomerBase(NamedTuple):
    """What other tables need to know of each customer: number, card in ``DECK``, and luck in 0..121."""

    number: Ints
    card: Ints
    luck: Ints


class Catalogue(NamedTuple):
    """What order lines need to know of each product."""

    codes: pa.Array
    msrp: Ints
    popularity: Ints


class OrderPart(NamedTuple):
    """Consecutive orders; ``state`` is a position in ``STATES``; ``shipped`` counts where ``has_shipped``."""

    position: Ints
    day: Ints
    required: Ints
    shipped: Ints
    has_shipped: np.ndarray
    state: Ints


STATES = ("Shipped", "In Process", "Disputed", "On Hold", "Late", "Cancelled", "Cancelled yet shipped", "Resolved")
STATUS_OF = {"Late": "Shipped", "Cancelled yet shipped": "Cancelled"}
UNSHIPPED = ("In Process", "On Hold", "Cancelled")
UNPAID = ("Disputed", "Cancelled yet shipped", *UNSHIPPED)


class NewShop:
    """The rows of the shop that ``plan`` describes: ``batches("orders")`` and so on."""

    def __init__(self, plan: ShopPlan) -> None:
        self.plan = plan
        self._makers: dict[str, Callable[[], Iterator[pa.RecordBatch]]] = {
            "productlines": self._productlines,
            "products": self._products,
            "offices": self._offices,
            "employees": self._employees,
            "customers": self._customers,
            "orders": self._orders,
            "orderdetails": self._orderdetails,
            "payments": self._payments,
        }

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table, in the order of its key as far as it grows with time."""
        return self._makers[table]()

    def expected_rows(self) -> int:
        """About how many rows all tables hold together."""
        plan = self.plan
        return plan.customers + plan.products + plan.representatives + int(plan.orders * 11.1)

    # The house -----------------------------------------------------------------------------------------

    def _productlines(self) -> Iterator[pa.RecordBatch]:
        lines = words.LINES
        yield batch(
            shop.productlines,
            {
                "productLine": [line.name for line in lines],
                "textDescription": [line.text for line in lines],
                "htmlDescription": [web_page(line) for line in lines],
                "image": [picture(position) for position in range(len(lines))],
            },
        )

    def _offices(self) -> Iterator[pa.RecordBatch]:
        yield _from_rows(shop.offices, words.OFFICES)

    @cached_property
    def staff(self) -> list[Person]:
        """Everybody who works for the shop, the president first."""
        return staff_of(self.plan)

    def _employees(self) -> Iterator[pa.RecordBatch]:
        rows = [
            (p.number, p.last, p.first, f"x{100 + p.number * 37 % 9900}", email(p), p.office, p.boss, p.title)
            for p in self.staff
        ]
        yield _from_rows(shop.employees, rows)

    # Products ------------------------------------------------------------------------------------------

    def _line_of_product(self) -> Ints:
        """Contiguous product lines, in the shares of the real shop's 110 products."""
        ends = np.cumsum([line.products for line in words.LINES])
        slots = np.arange(self.plan.products) * PRODUCTS // self.plan.products
        return np.searchsorted(ends, slots, "right")

    @cached_property
    def catalogue(self) -> Catalogue:
        line_of, rng = self._line_of_product(), stream(self.plan.seed, "catalogue")
        cheapest = np.array([line.cheapest for line in words.LINES])[line_of]
        dearest = np.array([line.dearest for line in words.LINES])[line_of]
        msrp = cheapest + rng.integers(0, dearest - cheapest + 1)
        popularity = _popularity(rng, line_of, never_sold=self.plan.products // PRODUCTS)
        choice = rng.integers(0, 60, len(line_of))
        scales = [words.LINES[line].scales for line in line_of]
        numbers = 1_001 + np.arange(len(line_of)) * 29 + rng.integers(0, 29, len(line_of))
        codes = [
            f"S{each[pick % len(each)].removeprefix('1:')}_{number}"
            for each, pick, number in zip(scales, choice, numbers, strict=True)
        ]
        return Catalogue(pa.array(codes), msrp, popularity)

    def _products(self) -> Iterator[pa.RecordBatch]:
        line_of, rng, size = self._line_of_product(), stream(self.plan.seed, "products"), self.plan.products
        codes, msrp, _ = self.catalogue
        luck = shuffled_decks(rng, PRODUCTS, -(-size // PRODUCTS)).ravel()[:size]
        draws = rng.integers(0, 2**31, (size, 6)).tolist()
        lines = [words.LINES[line] for line in line_of]
        yield batch(
            shop.products,
            {
                "productCode": codes,
                "productName": [
                    product_name(line.name, draw, accent=lucky == 0)
                    for line, draw, lucky in zip(lines, draws, luck, strict=True)
                ],
                "productLine": [line.name for line in lines],
                "productScale": [f"1:{code[1:].partition('_')[0]}" for code in codes.to_pylist()],
                "productVendor": [words.VENDORS[draw[3] % len(words.VENDORS)] for draw in draws],
                "productDescription": [
                    product_description(draw[4], int(lucky)) for draw, lucky in zip(draws, luck, strict=True)
                ],
                "quantityInStock": rng.integers(15, 9_998, size),
                "buyPrice": msrp * rng.integers(40, 71, size) // 100,
                "MSRP": msrp,
            },
        )

    # Customers -----------------------------------------------------------------------------------------

    @cached_property
    def customer_base(self) -> CustomerBase:
        rng, size = stream(self.plan.seed, "customer base"), self.plan.customers
        decks = -(-size // len(DECK))
        card = shuffled_decks(rng, len(DECK), decks).ravel()[:size]
        luck = shuffled_decks(rng, len(DECK), decks).ravel()[:size]
        gaps = rng.integers(1, 7, size)
        return CustomerBase(FIRST_CUSTOMER + np.cumsum(gaps) - gaps[0], card, luck)

    def _customers(self) -> Iterator[pa.RecordBatch]:
        base = self.customer_base
        reps = representatives_by_territory(self.staff)
        codes = max(1, min(97, isqrt(int(self.plan.scale))))
        for start in range(0, self.plan.customers, CUSTOMERS_AT_A_TIME):
            numbers, cards, luck = (each[start : start + CUSTOMERS_AT_A_TIME].tolist() for each in base)
            rng = stream(self.plan.seed, "customers", start)
            draws = rng.integers(0, 2**31, (len(numbers), 12)).tolist()
            rows = []
            for number, card, lucky, draw in zip(numbers, cards, luck, draws, strict=True):
                place, buys = DECK[card]
                rows.append(customer_row(number, place, buys, lucky, draw, codes, reps[_territory(place)]))
            yield _from_rows(shop.customers, rows)

    # Orders --------------------------------------------------------------------------------------------

    @cached_property
    def _buyer_of_order(self) -> Ints:
        """Each order's customer: every buyer orders about as often as ``ORDERS_OF_BUYERS`` says."""
        rng, base, orders = stream(self.plan.seed, "buyers"), self.customer_base, self.plan.orders
        buys = np.array([buys for _, buys in DECK])
        buyers = base.number[buys[base.card]].astype(np.int32)
        decks = -(-len(buyers) // len(ORDERS_OF_BUYERS))
        often = ORDERS_OF_BUYERS[shuffled_decks(rng, len(ORDERS_OF_BUYERS), decks).ravel()[: len(buyers)]]
        ends = np.cumsum(often)
        counts = np.diff(ends * orders // ends[-1], prepend=0)
        return rng.permutation(np.repeat(buyers, counts))

    def _parts(self) -> Iterator[OrderPart]:
        for start in range(0, self.plan.orders, ORDERS_AT_A_TIME):
            yield self._part(np.arange(start, min(start + ORDERS_AT_A_TIME, self.plan.orders), dtype=np.int64))

    def _part(self, position: Ints) -> OrderPart:
        rng, size, last = stream(self.plan.seed, "orders", int(position[0])), len(position), day_number(self.plan.last)
        day = self.plan.order_days(position)
        required = day + lifecycle.draw_after(rng, lifecycle.REQUIRED_AFTER, size)
        shipped = day + lifecycle.draw_after(rng, lifecycle.SHIPPED_AFTER, size)
        late = day + rng.integers(LATE_AFTER[0], LATE_AFTER[1] + 1, size)
        state = np.zeros(size, np.int64)
        # The last orders of all are still on somebody's desk.
        latest = position >= self.plan.orders - -(-self.plan.orders // 163)
        state[latest | (shipped > last)] = STATES.index("In Process")
        for kind, positions in self.plan.troubles.items():
            low, high = np.searchsorted(positions, (position[0], position[-1] + 1))
            state[positions[low:high] - position[0]] = STATES.index(kind)
        shipped = np.where(state == STATES.index("Late"), late, shipped)
        return OrderPart(position, day, required, shipped, ~_is(state, UNSHIPPED), state)

    def _orders(self) -> Iterator[pa.RecordBatch]:
        statuses = pa.array([STATUS_OF.get(state, state) for state in STATES])
        for part in self._parts():
            yield batch(
                shop.orders,
                {
                    "orderNumber": FIRST_ORDER + part.position,
                    "orderDate": part.day,
                    "requiredDate": part.required,
                    "shippedDate": days(part.shipped, missing=~part.has_shipped),
                    "status": statuses.take(pa.array(part.state)),
                    "comments": self._comments(part),
                    "customerNumber": self._buyer_of_order[part.position],
                },
            )

    def _comments(self, part: OrderPart) -> pa.Array:
        """About every fifth order has a remark; those that went wrong have one that says why."""
        rng = stream(self.plan.seed, "comments", int(part.position[0]))
        remarks = [None, *words.SALES_REMARKS]
        some = np.where(rng.integers(0, 5, len(part.state)) == 0, rng.integers(1, len(remarks), len(part.state)), 0)
        draw = rng.integers(0, 2**31, len(part.state))
        for state, reasons in words.STATUS_REMARKS.items():
            some = np.where(part.state == STATES.index(state), len(remarks) + draw % len(reasons), some)
            remarks.extend(reasons)
        return pa.array(remarks, pa.string()).take(pa.array(some))

    def _lines(self, part: OrderPart) -> lifecycle.Lines:
        rng = stream(self.plan.seed, "lines", int(part.position[0]))
        popularity = self.catalogue.popularity
        counts = lifecycle.draw_line_counts(rng, len(part.position), int((popularity > 0).sum()))
        return lifecycle.draw_lines(rng, counts, popularity, self.catalogue.msrp)

    def _orderdetails(self) -> Iterator[pa.RecordBatch]:
        for part in self._parts():
            lines = self._lines(part)
            yield batch(
                shop.orderdetails,
                {
                    "orderNumber": FIRST_ORDER + part.position[lines.order],
                    "productCode": self.catalogue.codes.take(pa.array(lines.product)),
                    "quantityOrdered": lines.quantity,
                    "priceEach": lines.price,
                    "orderLineNumber": lines.number,
                },
            )

    def _payments(self) -> Iterator[pa.RecordBatch]:
        for part in self._parts():
            numbers = FIRST_ORDER + part.position
            totals = lifecycle.order_totals(self._lines(part), len(numbers))
            paid = lifecycle.payments_for(
                numbers, ~_is(part.state, UNPAID), part.shipped, totals, after=0, until=day_number(self.plan.last)
            )
            yield batch(
                shop.payments,
                {
                    "customerNumber": self._buyer_of_order[part.position[paid.order]],
                    "checkNumber": lifecycle.check_numbers(numbers[paid.order]),
                    "paymentDate": paid.day,
                    "amount": paid.amount,
                },
            )


def _territory(place: words.Place) -> str:
    return words.TERRITORY_OF.get(place.country.strip(), "EMEA")


def _is(state: Ints, states: tuple[str, ...]) -> np.ndarray:
    return np.isin(state, [STATES.index(each) for each in states])


def _from_rows(table: sa.Table, rows: Iterable[tuple[Any, ...]]) -> pa.RecordBatch:
    return batch(table, dict(zip(table.columns.keys(), map(list, zip(*rows, strict=True)), strict=True)))


def _popularity(rng: np.random.Generator, line_of: Ints, never_sold: int) -> Ints:
    """Zipf's law within each product line, each line with its share of all order lines."""
    popularity = np.zeros(len(line_of), np.int64)
    for position, line in enumerate(words.LINES):
        of_line = np.flatnonzero(line_of == position)
        rank = shuffled_decks(rng, len(of_line), 1)[0]
        weight = 1_000_000_000 // (rank + 12)
        if position == 0:
            weight[rank >= len(of_line) - never_sold] = 0
        popularity[of_line] = weight * line.share // max(1, int(weight.sum()) // 1_000_000)
    return popularity


def staff_of(plan: ShopPlan) -> list[Person]:
    """President, two vice presidents, three managers, and as many representatives as the shop needs."""
    rng, size = stream(plan.seed, "staff"), 6 + plan.representatives
    gaps = rng.integers(1, 40, size)
    numbers = (FIRST_EMPLOYEE + np.cumsum(gaps) - gaps[0]).tolist()
    president, sales, _, na, emea, apac = numbers[:6]
    posts: list[tuple[str, int | None, str]] = [
        ("1", None, "President"),
        ("1", president, "VP Sales"),
        ("1", president, "VP Marketing"),
        ("1", sales, "Sales Manager (NA)"),
        ("4", sales, "Sales Manager (EMEA)"),
        ("6", sales, "Sales Manager (APAC)"),
    ]
    territory = {str(office[0]): office[-1] for office in words.OFFICES}
    bosses = {"NA": na, "EMEA": emea, "APAC": apac, "Japan": sales}
    for position in range(plan.representatives):
        office = words.REP_OFFICES[position % len(words.REP_OFFICES)]
        posts.append((office, bosses[str(territory[office])], "Sales Rep"))
    first, last = shuffled_decks(rng, len(words.STAFF_FIRST), 2)
    return [
        Person(
            number,
            words.STAFF_FIRST[first[i % len(first)]],
            words.STAFF_LAST[last[(i + i // len(last)) % len(last)]],
            *post,
        )
        for i, (number, post) in enumerate(zip(numbers, posts, strict=True))
    ]


def representatives_by_territory(staff: list[Person]) -> dict[str, list[int]]:
    """Numbers of the sales representatives who work in each territory's offices."""
    territory = {str(office[0]): str(office[-1]) for office in words.OFFICES}
    found: dict[str, list[int]] = {}
    for person in staff:
        if person.title == "Sales Rep":
            found.setdefault(territory[person.office], []).append(person.number)
    return found


def web_page(line: words.Line) -> str:
    """The product line's description for the web shop, which has line breaks as the real one has."""
    return f"<html>\r\n<h4>{line.name}</h4>\r\n<p>{line.text}</p>\r\n</html>"


def product_name(line: str, draw: list[int], accent: bool) -> str:
    """A model's name, such as ``1958 Corvara Spider``; one in 110 is typed with a curly apostrophe."""
    first, last = words.YEARS[line]
    year = first + draw[0] % (last - first + 1)
    make = words.MAKES[draw[1] % len(words.MAKES)]
    body = words.BODIES[line][draw[2] % len(words.BODIES[line])]
    return f"{year // 10 * 10}’s {make} {body}" if accent else f"{year} {make} {body}"


def product_description(draw: int, luck: int) -> str:
    """A few features and a remark; some with line breaks, some with stray spaces."""
    start, count = draw % len(words.FEATURES), 2 + draw // 16 % 5
    features = [words.FEATURES[(start + 4 * step) % len(words.FEATURES)] for step in range(count)]
    text = "; ".join(features).capitalize() + "."
    remark = words.REMARKS[draw // 80 % len(words.REMARKS)]
    separator = "\r\n" if luck < 7 else "  " if luck < 13 else " "
    return f"{text}{separator}{remark}"


def picture(position: int) -> bytes:
    """A bitmap of 8 by 8 pixels in the product line's colour."""
    pixels = bytes((position * 36 % 256, 255 - position * 30, 64 + position * 20)) * 64
    header = b"BM" + (54 + len(pixels)).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    size = (8).to_bytes(4, "little")
    kind = (1).to_bytes(2, "little") + (24).to_bytes(2, "little")
    return header + (40).to_bytes(4, "little") + size + size + kind + bytes(24) + pixels
