"""A value that fits its declared type arrives as it is; one that does not is NULL, and kept word for word."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa
import pytest

from classic_cars.contracts.order_system import READ_ORDER, customers, orderdetails, orders, payments, productlines
from classic_cars.contracts.source import CONTRACTS
from classic_cars.sources.conform import conform
from classic_cars_tests.order_systems import TODAY


def conformed(table: Any, **columns: pa.Array) -> dict[str, Any]:
    """The one row that ``columns`` becomes; columns that are not given are NULL."""
    names = [column.name for column in table.columns] + (["orderDate"] if table is orderdetails else [])
    given = {name: columns.get(name, pa.nulls(1)) for name in names}
    arriving = ibis.memtable(pa.table(given))
    return ibis.duckdb.connect().to_pyarrow(conform(arriving, table, TODAY)).to_pylist()[0]


def price(value: Any, kind: pa.DataType) -> tuple[Any, Any]:
    row = conformed(orderdetails, priceEach=pa.array([value], kind))
    return row["priceEach"], json.loads(row["_rescued_data"] or "{}").get("priceEach")


def number(value: Any, kind: pa.DataType) -> tuple[Any, Any]:
    row = conformed(customers, customerNumber=pa.array([value], kind))
    return row["customerNumber"], json.loads(row["_rescued_data"] or "{}").get("customerNumber")


def day(value: Any, kind: pa.DataType) -> tuple[Any, Any]:
    row = conformed(payments, paymentDate=pa.array([value], kind))
    return row["paymentDate"], json.loads(row["_rescued_data"] or "{}").get("paymentDate")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("136", pa.string(), "136.00"),
        ("136.0", pa.string(), "136.00"),
        ("55.09", pa.string(), "55.09"),
        ("-0.5", pa.string(), "-0.50"),
        ("55.0900", pa.string(), "55.09"),
        ("99999999.99", pa.string(), "99999999.99"),
        (55.09, pa.float64(), "55.09"),
        (0.1 + 0.2, pa.float64(), "0.30"),
        (1.130000000000003, pa.float64(), "1.13"),  # in the fifteen digits that a double holds
        (7, pa.int64(), "7.00"),
        (Decimal("55.0900"), pa.decimal128(20, 4), "55.09"),
        (Decimal("5.1"), pa.decimal128(6, 1), "5.10"),
    ],
)
def test_money_that_fits_arrives_exactly(value: Any, kind: pa.DataType, expected: str) -> None:
    assert price(value, kind) == (Decimal(expected), None)


@pytest.mark.parametrize(
    ("value", "kind", "kept"),
    [
        ("1.005", pa.string(), "1.005"),
        ("1.00000000000000000001", pa.string(), "1.00000000000000000001"),
        ("100000000.00", pa.string(), "100000000.00"),
        ("abc", pa.string(), "abc"),
        ("", pa.string(), ""),
        ("NaN", pa.string(), "NaN"),
        ("1_0", pa.string(), "1_0"),
        ("1e2", pa.string(), "1e2"),
        (" 1", pa.string(), " 1"),
        ("1,5", pa.string(), "1,5"),
        (1.005, pa.float64(), "1.005"),
        (9.990000000000009, pa.float64(), "9.990000000000009"),
        (99999999.995, pa.float64(), "99999999.995"),
        (float("nan"), pa.float64(), "nan"),
        (float("inf"), pa.float64(), "inf"),
        (1e300, pa.float64(), "1e+300"),
        (10**10, pa.int64(), "10000000000"),
        (Decimal("1.2345"), pa.decimal128(20, 4), "1.2345"),
    ],
)
def test_money_that_does_not_fit_is_kept_and_not_rounded(value: Any, kind: pa.DataType, kept: str) -> None:
    assert price(value, kind) == (None, kept)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (2**31 - 1, pa.int64(), (2**31 - 1, None)),
        (2**31, pa.int64(), (None, "2147483648")),
        (-(2**31) - 1, pa.int64(), (None, "-2147483649")),
        (7, pa.int16(), (7, None)),
        (7, pa.uint64(), (7, None)),
        (2**64 - 1, pa.uint64(), (None, "18446744073709551615")),
        (7.0, pa.float64(), (7, None)),
        (7.5, pa.float64(), (None, "7.5")),
        (Decimal("7.00"), pa.decimal128(10, 2), (7, None)),
        (Decimal("7.01"), pa.decimal128(10, 2), (None, "7.01")),
        ("7", pa.string(), (7, None)),
        ("7.00", pa.string(), (7, None)),
        ("7.5", pa.string(), (None, "7.5")),
        ("0x1F", pa.string(), (None, "0x1F")),
        ("1_000", pa.string(), (None, "1_000")),
        ("abc", pa.string(), (None, "abc")),
        ("true", pa.string(), (None, "true")),
    ],
)
def test_whole_numbers_arrive_unless_they_are_none_or_too_large(value: Any, kind: pa.DataType, expected: tuple) -> None:
    assert number(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("2004-02-29", pa.string(), (date(2004, 2, 29), None)),
        ("2004-02-29 00:00:00", pa.string(), (date(2004, 2, 29), None)),
        ("2004-02-29 00:00:00.000000", pa.string(), (date(2004, 2, 29), None)),
        (date(2004, 2, 29), pa.date32(), (date(2004, 2, 29), None)),
        (datetime(2004, 2, 29), pa.timestamp("us"), (date(2004, 2, 29), None)),
        ("9999-12-31", pa.string(), (date(9999, 12, 31), None)),
        ("2004-02-30", pa.string(), (None, "2004-02-30")),
        ("2004-02-29 12:30:00", pa.string(), (None, "2004-02-29 12:30:00")),
        ("2004-02-29T00:00:00", pa.string(), (None, "2004-02-29T00:00:00")),
        ("2004-2-9", pa.string(), (None, "2004-2-9")),
        ("2004-02-29 ", pa.string(), (None, "2004-02-29 ")),
        ("0000-00-00", pa.string(), (None, "0000-00-00")),
        ("0000-01-01", pa.string(), (None, "0000-01-01")),
        ("2004-00-00", pa.string(), (None, "2004-00-00")),
        ("0044-03-15 BC", pa.string(), (None, "0044-03-15 BC")),
        ("20000-03-15", pa.string(), (None, "20000-03-15")),
        ("infinity", pa.string(), (None, "infinity")),
        ("1073260800", pa.string(), (None, "1073260800")),
        ("garbage", pa.string(), (None, "garbage")),
        ("", pa.string(), (None, "")),
        (datetime(2004, 2, 29, 12, 30), pa.timestamp("us"), (None, "2004-02-29 12:30:00")),
        (17, pa.int64(), (None, "17")),
    ],
)
def test_dates_arrive_unless_they_are_no_days(value: Any, kind: pa.DataType, expected: tuple) -> None:
    assert day(value, kind) == expected


def test_text_stays_as_it_is_and_numbers_become_text() -> None:
    row = conformed(customers, city=pa.array([" NYC\0\n"]), postalCode=pa.array([2107], pa.int64()))
    assert (row["city"], row["postalCode"], row["_rescued_data"]) == (" NYC\0\n", "2107", None)


def test_bytes_in_a_text_column_arrive_if_they_are_letters() -> None:
    row = conformed(customers, city=pa.array([b"Paris"]), state=pa.array([b"\xff\x00"]))
    assert (row["city"], row["state"]) == ("Paris", None)
    assert json.loads(row["_rescued_data"]) == {"state": r"\xFF\x00"}


def test_text_in_a_picture_arrives_unless_it_would_be_read_as_escapes() -> None:
    assert conformed(productlines, image=pa.array(["GIF89a"]))["image"] == b"GIF89a"
    row = conformed(productlines, image=pa.array([r"a\x41"]))
    assert (row["image"], json.loads(row["_rescued_data"])) == (None, {"image": r"a\x41"})


def test_any_raw_value_is_kept_as_valid_json() -> None:
    everything = "".join(chr(code) for code in range(0x250)) + '"\\\\" 🚗'
    assert price(everything, pa.string()) == (None, everything)


def test_several_values_that_do_not_fit_are_kept_together() -> None:
    row = conformed(payments, paymentDate=pa.array(["x"]), amount=pa.array(["y"]), customerNumber=pa.array([2**40]))
    assert json.loads(row["_rescued_data"]) == {"customerNumber": str(2**40), "paymentDate": "x", "amount": "y"}


def test_what_the_reader_could_not_decode_is_kept_beside_what_does_not_fit() -> None:
    given = {column.name: pa.nulls(1) for column in payments.columns} | {"amount": pa.array(["y"])}
    arriving = ibis.memtable(pa.table(given | {"_rescued_data": pa.array(['"checkNumber": "xFF"'])}))
    (row,) = ibis.duckdb.connect().to_pyarrow(conform(arriving, payments, TODAY)).to_pylist()
    assert json.loads(row["_rescued_data"]) == {"checkNumber": "xFF", "amount": "y"}


@pytest.mark.parametrize(
    ("value", "month"),
    [
        ("2004-05-06", date(2004, 5, 1)),
        ("2003-01-01", date(2003, 1, 1)),
        ("2002-12-31", date(2002, 12, 1)),
        ("1999-02-28", date(1999, 2, 1)),
        ("1900-02-01", date(1900, 2, 1)),
        ("1900-01-31", date(1900, 1, 1)),
        ("2005-05-31", date(2005, 5, 1)),
        ("2005-06-01", date(2005, 6, 1)),
        ("2006-05-31", date(2006, 5, 1)),
        ("2006-06-01", date(1900, 1, 1)),
        ("9999-12-31", date(1900, 1, 1)),
        ("2004-05-06 12:30:00", date(1900, 1, 1)),
        ("garbage", date(1900, 1, 1)),
        (None, date(1900, 1, 1)),
    ],
)
def test_every_row_has_a_home_month_undated_ones_in_one_of_their_own(value: str | None, month: date) -> None:
    given = pa.array([value], pa.string())
    assert conformed(orders, orderDate=given)["orderMonth"] == month
    assert conformed(orderdetails, orderDate=given)["orderMonth"] == month


def test_in_december_the_next_december_is_the_last_home() -> None:
    arriving = ibis.memtable(
        pa.table(
            {column.name: pa.nulls(2) for column in orders.columns}
            | {"orderDate": pa.array(["2005-12-31", "2006-01-01"])}
        )
    )
    rows = ibis.duckdb.connect().to_pyarrow(conform(arriving, orders, date(2004, 12, 31))).to_pylist()
    assert {row["orderMonth"] for row in rows} == {date(2005, 12, 1), date(1900, 1, 1)}


@pytest.mark.parametrize("table", READ_ORDER, ids=lambda table: table.name)
def test_columns_and_types_are_those_of_the_contract(table: Any) -> None:
    names = [column.name for column in table.columns] + (["orderDate"] if table is orderdetails else [])
    for kind in ("null", "string", "int64", "float64", "date", "binary"):
        arriving = ibis.table(dict.fromkeys(names, kind), name="arriving")
        schema = conform(arriving, table).schema()
        expected = CONTRACTS[table.name].types
        assert list(schema.names) == list(expected.names)
        assert [each.copy(nullable=True) for each in schema.types] == [
            each.copy(nullable=True) for each in expected.types
        ]
