r"""CSV files of a shop: what is read, and how each mistake is reported, without a database."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from classic_cars_shop.api import ShopInputError
from classic_cars_shop.load import ShopFiles
from classic_cars_shop.ownership import TABLES

GOOD = {
    "productlines": 'productLine,textDescription,htmlDescription,image\n"Ships",\\N,"<p>\n""S""</p>","blob:40"\n',
    "products": (
        "productCode,productName,productLine,productScale,productVendor,productDescription,quantityInStock,buyPrice,MSRP\n"
        '"S7_001","Clipper","Ships","1:700","V","a\nb","15","48.5","95.70"\n'
    ),
    "offices": (
        "officeCode,city,phone,addressLine1,addressLine2,state,country,postalCode,territory\n"
        '"1","Boston","1","A",\\N,"MA","USA","02107","NA"\n'
    ),
    "employees": (
        "employeeNumber,lastName,firstName,extension,email,officeCode,reportsTo,jobTitle\n"
        '"2","B","B","x","b@x","1","1","Sales Rep"\n"1","A","A","x","a@x","1",\\N,"President"\n'
    ),
    "customers": (
        "customerNumber,customerName,contactLastName,contactFirstName,phone,addressLine1,addressLine2,city,state,"
        "postalCode,country,salesRepEmployeeNumber,creditLimit\n"
        '"7","Firm","L","F ","1","A","\\N","Oslo",\\N,\\N,"Norway  ","2","21000.0"\n'
    ),
    "orders": (
        "orderNumber,orderDate,requiredDate,shippedDate,status,comments,customerNumber\n"
        '"10","2003-01-06","2003-01-13",\\N,"On Hold","two\nlines","7"\n'
        '"11","2004-02-29","2004-03-13","2004-03-01","Shipped","","7"\n'
    ),
    "orderdetails": (
        "orderNumber,productCode,quantityOrdered,priceEach,orderLineNumber\n"
        '"10","S7_001","30","81.35","1"\n"11","S7_001","1","0.1","1"\n'
    ),
    "payments": 'customerNumber,checkNumber,paymentDate,amount\n"7","HQ1","2004-10-19","6066.78"\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with eight small files, without a mistake."""
    for name, text in GOOD.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    return tmp_path


def change(folder: Path, table: str, old: str, new: str) -> None:
    text = GOOD[table]
    assert text.count(old) >= 1
    (folder / f"{table}.csv").write_text(text.replace(old, new, 1), encoding="utf-8", newline="")


def read_all(folder: Path, tables: Iterable[str] = TABLES) -> dict[str, list[dict[str, Any]]]:
    files = ShopFiles.open(folder)
    return {name: [row for batch in files.batches(name) for row in batch.to_pylist()] for name in tables}


def test_values_arrive_as_they_are(folder: Path) -> None:
    rows = read_all(folder)
    customer, order = rows["customers"][0], rows["orders"][1]
    assert (customer["addressLine2"], customer["state"]) == ("\\N", None)
    assert (customer["country"], customer["contactFirstName"]) == ("Norway  ", "F ")
    assert (order["comments"], rows["orders"][0]["comments"]) == ("", "two\nlines")
    assert rows["productlines"][0]["htmlDescription"] == '<p>\n"S"</p>'
    assert rows["productlines"][0]["image"] == b"blob:40"
    assert [str(row["priceEach"]) for row in rows["orderdetails"]] == ["81.35", "0.10"]


def test_the_shops_day_is_that_of_its_last_order(folder: Path) -> None:
    files = ShopFiles.open(folder)
    for name in TABLES:
        list(files.batches(name))
    assert files.last_order.isoformat() == "2004-02-29"


def test_columns_may_come_in_any_order(folder: Path) -> None:
    (folder / "payments.csv").write_text('amount,checkNumber,customerNumber,paymentDate\n"1","a","7","2004-01-01"\n')
    assert read_all(folder)["payments"][0]["checkNumber"] == "a"


def test_files_without_rows_are_read(folder: Path) -> None:
    for name in ("orders", "orderdetails", "payments"):
        (folder / f"{name}.csv").write_text(GOOD[name].partition("\n")[0] + "\n")
    assert [len(read_all(folder)[name]) for name in ("orders", "orderdetails", "payments")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("orders", "orderDate,", "", "orders.csv: column orderDate missing; found orderNumber, requiredDate"),
        ("payments", "amount\n", "amount,extra\n", "payments.csv: column extra unknown"),
        ("orders", '"2004-02-29"', '"2004-02-30"', "orders.csv: line 4: orderDate: found '2004-02-30', expected a day"),
        ("orders", '"2003-01-06"', "\\N", r"orders.csv: line 2: orderDate: found NULL .*, expected a value"),
        ("orderdetails", '"81.35"', '"81.355"', "line 2: priceEach: found '81.355', expected an amount such as 81.35"),
        ("orderdetails", '"0.1"', '"123456789"', "line 3: priceEach: found '123456789', expected an amount"),
        ("orderdetails", '"30"', '"3e1"', "line 2: quantityOrdered: found '3e1', expected an integer from -2147483648"),
        ("orderdetails", '"0.1","1"', '"0.1","40000"', "line 3: orderLineNumber: found '40000', expected an integer"),
        ("orderdetails", '"11"', '"12"', "line 3: orderNumber: found '12', expected a value of orders.orderNumber"),
        ("orderdetails", '"11"', '"10"', "line 3: orderNumber, productCode: found a key that an earlier line has"),
        ("products", '"S7_001"', '"S7_0000000000000"', "line 2: productCode: found 'S7_0000000000000', expected 15"),
        ("products", '"Ships"', '"Boats"', "line 2: productLine: found 'Boats', expected a value of productlines"),
        (
            "employees",
            '"1","1","Sales',
            '"1","9","Sales',
            "line 2: reportsTo: found '9', expected a value of employees",
        ),
        ("customers", '"Oslo"', f'"{"x" * 51}"', "line 2: city: found 'xxx.*, expected 50 characters at most"),
        ("customers", '"F "', f'"{"x" * 51}"', "line 2: contactFirstName: found a value that is not shown"),
        (
            "orders",
            '"Shipped","",',
            '"Shipped",',
            "orders.csv: row 3 .the header is row 1.: found 6 values, expected 7",
        ),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_what_was_expected(
    folder: Path, table: str, old: str, new: str, message: str
) -> None:
    change(folder, table, old, new)
    with pytest.raises(ShopInputError, match=message):
        read_all(folder)


def test_personal_values_are_not_shown_when_a_row_is_broken(folder: Path) -> None:
    change(folder, "customers", '"Firm",', "")
    with pytest.raises(ShopInputError) as caught:
        read_all(folder)
    assert "Oslo" not in str(caught.value)


def test_missing_files_are_all_named(folder: Path) -> None:
    (folder / "orders.csv").unlink()
    (folder / "payments.csv").unlink()
    with pytest.raises(ShopInputError, match=r"payments.csv.* not found|orders.csv.* not found") as caught:
        ShopFiles.open(folder)
    assert {"orders.csv", "payments.csv"} <= set(str(caught.value).replace(",", " ").split())


@pytest.mark.parametrize("rows_before", [0, 2_000])
def test_text_that_is_not_utf_8_is_refused(folder: Path, rows_before: int) -> None:
    rows = "".join(f'"7","A{number}","2004-10-19","1"\n' for number in range(rows_before))
    text = GOOD["payments"].replace('"7","HQ1"', f'{rows}"7","H\xe9"')
    (folder / "payments.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ShopInputError, match=r"payments.csv: found text that is not UTF-8"):
        read_all(folder)
