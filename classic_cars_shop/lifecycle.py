"""Rules of an order's life that a new shop and passing time share: lines, shipping, paying.

Pure and vectorised: arrays of integers in, arrays of integers out. Days are days since 1970, money is cents.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classic_cars_shop.randomness import Ints, mixed, weighted

#: How often a product that is in the order already is drawn again by popularity.
PATIENCE = 40

#: How many of 326 orders have 1, 2, ... 18 lines.
LINE_COUNTS = np.array([17, 22, 14, 17, 18, 26, 11, 24, 28, 15, 20, 13, 19, 25, 14, 17, 15, 11], np.int64)

#: Days a customer leaves for the delivery, and days until it leaves the house: (days, how often).
REQUIRED_AFTER = np.array([(6, 53), (7, 62), (8, 77), (9, 61), (10, 55), (11, 12), (12, 6)], np.int64)
SHIPPED_AFTER = np.array([(1, 50), (2, 49), (3, 52), (4, 52), (5, 59), (6, 47)], np.int64)

#: A payment arrives this many days after shipping.
PAID_AFTER = (5, 32)
#: Of a hundred orders: paid in full, and paid in part. The others are never paid.
PAID_IN_FULL, PAID_IN_PART = 89, 4

#: Two letters and six digits.
CHECK_NUMBERS = 26 * 26 * 1_000_000
_CHECK_STEP, _CHECK_START = 314_159_267, 271_828_183


class Lines(NamedTuple):
    """Order lines: ``order`` and ``product`` are positions; ``number`` counts from 1 in each order."""

    order: Ints
    product: Ints
    number: Ints
    quantity: Ints
    price: Ints


class Payments(NamedTuple):
    """Which orders (positions) are paid, when and how much."""

    order: Ints
    day: Ints
    amount: Ints


def draw_after(rng: np.random.Generator, table: Ints, size: int) -> Ints:
    """Numbers of days, each as often as ``table`` says."""
    return table[weighted(rng, table[:, 1], size), 0]


def draw_line_counts(rng: np.random.Generator, orders: int, products_for_sale: int) -> Ints:
    """How many lines each order has."""
    return np.minimum(weighted(rng, LINE_COUNTS, orders) + 1, products_for_sale)


def draw_lines(rng: np.random.Generator, counts: Ints, popularity: Ints, msrp: Ints) -> Lines:
    """Lines of orders with ``counts`` lines each, sorted by order and product; a product is once in an order."""
    order = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    number = np.arange(len(order), dtype=np.int64) - starts + 1
    product = _distinct_products(rng, order, popularity)
    quantity = _quantities(rng, len(order))
    # From 80 to 100% of the list price, rounded up to the cent so that 80% stays the lower bound.
    price = -(-msrp[product] * rng.integers(8000, 10001, len(order)) // 10_000)
    by_product = np.lexsort((product, order))
    return Lines(order, product[by_product], number[by_product], quantity[by_product], price[by_product])


def _distinct_products(rng: np.random.Generator, order: Ints, popularity: Ints) -> Ints:
    product = weighted(rng, popularity, len(order))
    suspects = np.arange(len(order))
    for attempt in count():
        key = order[suspects] * len(popularity) + product[suspects]
        by_key = np.argsort(key, kind="stable")
        again = np.zeros(len(key), bool)
        again[by_key[1:]] = key[by_key[1:]] == key[by_key[:-1]]
        if not again.any():
            return product
        # Where a few products sell nearly everything, the rest of a long order would be long in coming.
        chances = popularity if attempt < PATIENCE else (popularity > 0).astype(np.int64)
        product[suspects[again]] = weighted(rng, chances, int(again.sum()))
        # Only orders that had a repetition can have one now.
        touched = np.zeros(int(order[-1]) + 1, bool)
        touched[order[suspects[again]]] = True
        suspects = np.flatnonzero(touched[order])
    raise AssertionError("unreachable: an order has at most as many lines as there are products")


def _quantities(rng: np.random.Generator, size: int) -> Ints:
    """Mostly 20 to 50; now and then a few pieces or a whole pallet."""
    kind = rng.integers(0, 1000, size)
    usual = rng.integers(20, 51, size)
    few = rng.integers(6, 20, size)
    many = rng.integers(51, 78, size)
    return np.where(kind < 12, few, np.where(kind < 40, many, usual))


def order_totals(lines: Lines, orders: int) -> Ints:
    """Cents per order."""
    totals = np.zeros(orders, np.int64)
    np.add.at(totals, lines.order, lines.quantity * lines.price)
    return totals


def due_days(order_numbers: Ints, shipped: Ints) -> Ints:
    """When an order would be paid. Follows from the order alone, so that time can pass in steps of any size."""
    first, last = PAID_AFTER
    return shipped + first + mixed(order_numbers, 1) % (last - first + 1)


def amounts_paid(order_numbers: Ints, totals: Ints) -> Ints:
    """What a customer pays for an order in the end: all, a part or nothing."""
    chance = mixed(order_numbers, 2) % 100
    part = totals * (40 + mixed(order_numbers, 3) % 31) // 100
    return np.where(chance < PAID_IN_FULL, totals, np.where(chance < PAID_IN_FULL + PAID_IN_PART, part, 0))


def payments_for(order_numbers: Ints, payable: Ints, shipped: Ints, totals: Ints, after: int, until: int) -> Payments:
    """Payments that arrive after day ``after``, ``until`` included, for the orders in the mask ``payable``."""
    due = due_days(order_numbers, shipped)
    amount = amounts_paid(order_numbers, totals)
    paid = np.flatnonzero(payable & (due > after) & (due <= until) & (amount > 0))
    return Payments(paid, due[paid], amount[paid])


def check_numbers(order_numbers: Ints) -> pa.Array:
    """A cheque's number for each order: no two orders share one."""
    numbers = (order_numbers * _CHECK_STEP + _CHECK_START) % CHECK_NUMBERS
    letters = [f"{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(26 * 26)]
    digits = pc.utf8_lpad(pa.array(numbers % 1_000_000).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(pa.array(letters).take(pa.array(numbers // 1_000_000)), digits, "")
