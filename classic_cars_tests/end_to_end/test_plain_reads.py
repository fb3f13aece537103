"""Order lines that are cast plainly are, bit for bit, those that the faithful way makes of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classic_cars.contracts.order_system import orderdetails
from classic_cars.sources.order_system import sqlite_rows
from classic_cars_tests.order_systems import arrived_rows, make_tables

NUMBERS = st.integers(-(2**31) - 2, -(2**31) + 2) | st.integers(2**31 - 2, 2**31 + 2) | st.integers(0, 3)
PRICES = st.decimals("-99999999.99", "99999999.99", places=2).map(float) | st.sampled_from(
    [0.1 + 0.2, 1.005, 1.129999, -0.0, 1e8, 99999999.994, 99999999.995, 1e300, float("inf")]
)
TEXTS = st.sampled_from(["S10_1678", "", " a ", "é", "\\", r"\x41", "0", "{}"]) | st.sampled_from([b"S\xff", b"\xc3"])
DAYS = st.sampled_from(["2004-01-05", "1899-12-31", "2004-02-30", "0000-00-00", "0000-05-05", "9999-12-31"]) | (
    st.sampled_from(["2004-01-05 00:00:00", "2004-1-5", "2004-01-05 12:00:00", "infinity", "None", "", "٢٠٠٤-٠١-٠٥"])
)
#: A shop as it should be, and one in which each value may be anything that its column's scan takes.
GOOD = st.tuples(st.integers(1, 4), st.just("S"), st.integers(1, 9), st.integers(1, 10**6).map(lambda c: c / 100))
ODD = st.tuples(st.integers(1, 4) | NUMBERS, TEXTS, st.none() | NUMBERS, st.none() | PRICES)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(GOOD | ODD, min_size=1, max_size=8),
    days=st.lists(st.just("2004-01-05") | DAYS, min_size=3, max_size=3),
)
def test_a_plain_cast_makes_what_the_faithful_way_makes(tmp_path: Path, lines: list[Any], days: list[str]) -> None:
    read, faithful = _read_both_ways(tmp_path / "shop.sqlite", lines, days)[:2]
    assert read == faithful


@pytest.mark.parametrize(
    ("line", "day", "is_plain"),
    [
        ((1, "S10_1678", 3, 1.25), "2004-01-05", True),
        ((None, "é", None, None), "2004-01-05", True),
        ((1, "S10_1678", 2**31, 1.25), "2004-01-05", False),
        ((1, "S10_1678", 3, 1.129), "2004-01-05", False),
        ((1, b"S\xff", 3, 1.25), "2004-01-05", False),
        ((1, "S10_1678", 3, 1.25), "2004-1-5", False),
        ((1, "S10_1678", 3, 1.25), "2004-01-05 00:00:00", False),
    ],
)
def test_one_value_that_does_not_fit_is_read_the_faithful_way(
    tmp_path: Path, line: Any, day: str, is_plain: bool
) -> None:
    good = (2, "S10_1678", 1, 0.5)
    read, faithful, said = _read_both_ways(tmp_path / "shop.sqlite", [line, good], [day, "2004-01-06", "2004-01-07"])
    assert read == faithful
    assert said == is_plain


def _read_both_ways(path: Path, lines: list[Any], days: list[str]) -> tuple[list[Any], list[Any], bool]:
    path.unlink(missing_ok=True)
    url = f"sqlite:///{path}"
    make_tables(url)
    with sqlite3.connect(path) as shop:
        shop.execute("DROP TABLE orderdetails")
        shop.execute(
            "CREATE TABLE orderdetails (orderNumber INTEGER, productCode VARCHAR(15), quantityOrdered INTEGER, "
            "priceEach NUMERIC(10, 2), orderLineNumber INTEGER)"
        )
        shop.executemany(
            "INSERT INTO orders VALUES (?, ?, '2004-02-01', NULL, 'Shipped', NULL, 7)", list(enumerate(days, 1))
        )
        shop.executemany(
            "INSERT INTO orderdetails VALUES (?, CAST(? AS TEXT), ?, ?, ?)",
            [(*line, number) for number, line in enumerate(lines)],
        )
    seen: list[bool] = []
    cast = sqlite_rows._as_declared
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_rows, "_as_declared", lambda *rows: (seen.append(True), cast(*rows))[1])
        read = arrived_rows(url, orderdetails)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_rows, "_is_plain_day", lambda _text: False)
        faithful = arrived_rows(url, orderdetails)
    return _sorted(read), _sorted(faithful), bool(seen)


def _sorted(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted((list(row.items()) for row in rows), key=repr)
