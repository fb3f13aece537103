"""Rules of an order's life: small orders whose outcome is worked out by hand."""

from __future__ import annotations

import numpy as np

from classic_cars_shop import lifecycle
from classic_cars_shop.columns import cents, money
from classic_cars_shop.people import digits, postal_code
from classic_cars_shop.randomness import stream, weighted


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_an_order_holds_no_product_twice_even_when_it_holds_them_all() -> None:
    lines = lifecycle.draw_lines(stream(0, "test"), ints(3, 3, 1), ints(1_000_000, 1, 1), ints(100, 200, 300))
    assert lines.product[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert lines.order.tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_a_product_without_weight_is_never_drawn() -> None:
    assert set(weighted(stream(1, "test"), ints(0, 5, 0, 5, 0), 1_000).tolist()) == {1, 3}


def test_totals_are_summed_per_order_in_cents() -> None:
    lines = lifecycle.Lines(ints(0, 0, 2), ints(0, 1, 0), ints(1, 2, 1), ints(3, 1, 2), ints(1050, 99, 1))
    assert lifecycle.order_totals(lines, 3).tolist() == [3249, 0, 2]


def test_each_day_pays_once_however_the_days_are_counted() -> None:
    numbers, shipped = np.arange(10_100, 10_400), np.full(300, 12_000)
    totals, everything = np.full(300, 5_000), np.ones(300, bool)
    at_once = lifecycle.payments_for(numbers, everything, shipped, totals, after=12_000, until=12_100)
    by_day = [
        lifecycle.payments_for(numbers, everything, shipped, totals, after=day - 1, until=day).order.tolist()
        for day in range(12_001, 12_101)
    ]
    assert sorted(at_once.order.tolist()) == sorted(order for orders in by_day for order in orders)
    assert 240 < len(at_once.order) < 300
    assert at_once.day.min() >= 12_005
    assert at_once.amount.max() == 5_000


def test_no_two_orders_share_a_cheque() -> None:
    numbers = lifecycle.check_numbers(np.arange(1, 200_001)).to_pylist()
    assert len(set(numbers)) == 200_000
    assert all(len(number) == 8 for number in numbers)


def test_money_survives_arrow_to_the_cent() -> None:
    amounts = [0, 1, 99, 100, 8135, -250, 99_999_999_99]
    assert [str(amount) for amount in money(amounts).to_pylist()] == [
        "0.00", "0.01", "0.99", "1.00", "81.35", "-2.50", "99999999.99",
    ]  # fmt: skip
    assert cents(money(amounts).slice(3, 2)).tolist() == [100, 8135]


def test_variants_of_postal_codes_keep_their_form() -> None:
    assert postal_code("94010", 0) == "94010"
    assert postal_code("94010", 95) == "94005"
    assert postal_code("WC1B 3DG", 9) == "WC1B 2DG"
    assert postal_code(" 530-0001", 3) == " 530-0004"
    assert postal_code(None, 5) is None


def test_digits_fill_a_template() -> None:
    assert digits("(1#) 555 ##", 123_456_789) == "(11) 555 23"
