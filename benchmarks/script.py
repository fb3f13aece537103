"""The same 26 tables, made by a script of DuckDB SQL: what a good engineer writes by hand in an afternoon.

It reads the same SQLite file through the same scanner, with the same DuckDB settings, and writes the same
tables with the same columns and types. It checks nothing: no rule, no key, no reference, no control total, no
quarantine, no history, no lineage; and readers see its tables half made. Beside it the platform shows what
all of that costs.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from classic_cars.sources.scanner import extension

LOCATION_KEY = """left(sha256(concat_ws(chr(31), coalesce(c."postalCode", ''), coalesce(c.city, ''),
    coalesce(c.state, ''), coalesce(c.country, ''))), 32)"""

#: The characters themselves: in a text of DuckDB, backslash v is a plain v.
WHITE_SPACE = " \t\n\r\v\f"

#: Columns and types of the order system's tables; texts are trimmed on the way to staging.
COLUMNS = {
    "productlines": {
        "productLine": "VARCHAR",
        "textDescription": "VARCHAR",
        "htmlDescription": "VARCHAR",
        "image": "BLOB",
    },
    "products": {
        "productCode": "VARCHAR",
        "productName": "VARCHAR",
        "productLine": "VARCHAR",
        "productScale": "VARCHAR",
        "productVendor": "VARCHAR",
        "productDescription": "VARCHAR",
        "quantityInStock": "INTEGER",
        "buyPrice": "DECIMAL(10, 2)",
        "MSRP": "DECIMAL(10, 2)",
    },
    "offices": dict.fromkeys(
        ["officeCode", "city", "phone", "addressLine1", "addressLine2", "state", "country", "postalCode", "territory"],
        "VARCHAR",
    ),
    "employees": {
        "employeeNumber": "INTEGER",
        **dict.fromkeys(("lastName", "firstName", "extension", "email", "officeCode"), "VARCHAR"),
        "reportsTo": "INTEGER",
        "jobTitle": "VARCHAR",
    },
    "customers": {
        "customerNumber": "INTEGER",
        **dict.fromkeys(
            [
                "customerName",
                "contactLastName",
                "contactFirstName",
                "phone",
                "addressLine1",
                "addressLine2",
                "city",
                "state",
                "postalCode",
                "country",
            ],
            "VARCHAR",
        ),
        "salesRepEmployeeNumber": "INTEGER",
        "creditLimit": "DECIMAL(10, 2)",
    },
    "payments": {
        "customerNumber": "INTEGER",
        "checkNumber": "VARCHAR",
        "paymentDate": "DATE",
        "amount": "DECIMAL(10, 2)",
    },
    "orders": {
        "orderNumber": "INTEGER",
        **dict.fromkeys(("orderDate", "requiredDate", "shippedDate"), "DATE"),
        "status": "VARCHAR",
        "comments": "VARCHAR",
        "customerNumber": "INTEGER",
    },
    "orderdetails": {
        "orderNumber": "INTEGER",
        "productCode": "VARCHAR",
        "quantityOrdered": "INTEGER",
        "priceEach": "DECIMAL(10, 2)",
        "orderLineNumber": "INTEGER",
    },
}

MONTH_OF = {"orders": "date_trunc('month', t.\"orderDate\")", "orderdetails": "date_trunc('month', o.\"orderDate\")"}

WAREHOUSE = {
    "dim_products": """
        SELECT p."productCode", p."productName", p."productLine", p."productScale", p."productVendor",
               p."productDescription", l."textDescription" AS "productLineDescription"
        FROM staging.products p LEFT JOIN staging.productlines l USING ("productLine")""",
    "dim_locations": f"""
        SELECT {LOCATION_KEY} AS "locationKey", c.*
        FROM (SELECT DISTINCT "postalCode", city, state, country FROM staging.customers) c""",
    "dim_customers": f"""
        SELECT c."customerNumber", c."customerName", c."contactLastName", c."contactFirstName", c.phone,
               c."addressLine1", c."addressLine2", c."creditLimit", {LOCATION_KEY} AS "locationKey"
        FROM staging.customers c""",
    "dim_employees": """
        SELECT e."employeeNumber", e."lastName", e."firstName", e.email, e."jobTitle", e."reportsTo", e."officeCode",
               o.city AS "officeCity", o.state AS "officeState", o.country AS "officeCountry",
               o.territory AS "officeTerritory"
        FROM staging.employees e LEFT JOIN staging.offices o USING ("officeCode")""",
    "dim_dates": """
        WITH days AS (
            SELECT unnest(generate_series(first, last, INTERVAL 1 DAY))::DATE AS d FROM (
                SELECT least((SELECT min("orderDate") FROM staging.orders),
                             (SELECT min("paymentDate") FROM staging.payments)) AS first,
                       greatest((SELECT greatest(max("orderDate"), max("requiredDate"), max("shippedDate"))
                                 FROM staging.orders), (SELECT max("paymentDate") FROM staging.payments)) AS last))
        SELECT d AS date, year(d)::INTEGER AS year, quarter(d)::INTEGER AS quarter,
               year(d) || '-Q' || quarter(d) AS "quarterName", month(d)::INTEGER AS month, monthname(d) AS "monthName",
               strftime(d, '%Y-%m') AS "yearMonth", isoyear(d)::INTEGER AS "isoYear", week(d)::INTEGER AS "isoWeek",
               strftime(d, '%G-W%V') AS "isoWeekName", day(d)::INTEGER AS "dayOfMonth",
               isodow(d)::INTEGER AS "dayOfWeek", dayname(d) AS "dayName", isodow(d) >= 6 AS "isWeekend"
        FROM days""",
    "fact_orders": f"""
        SELECT d."orderNumber", d."orderLineNumber", d."productCode", o."customerNumber", c."postalCode",
               c."locationKey", c."salesRepEmployeeNumber", o."orderDate", o."requiredDate", o."shippedDate", o.status,
               o.comments, d."quantityOrdered", d."priceEach", p."buyPrice", p."MSRP",
               (d."quantityOrdered" * d."priceEach")::DECIMAL(18, 2) AS "orderAmount"
        FROM staging.orderdetails d
        LEFT JOIN staging.orders o USING ("orderNumber")
        LEFT JOIN (SELECT c."customerNumber", c."postalCode", c."salesRepEmployeeNumber",
                          {LOCATION_KEY} AS "locationKey" FROM staging.customers c) c USING ("customerNumber")
        LEFT JOIN staging.products p USING ("productCode")""",
    "fact_payments": f"""
        SELECT p."customerNumber", p."checkNumber", p."paymentDate", {LOCATION_KEY} AS "locationKey", p.amount
        FROM staging.payments p LEFT JOIN staging.customers c USING ("customerNumber")""",
}

METRICS = """count(DISTINCT f."orderNumber") AS orders, sum(f."quantityOrdered")::BIGINT AS units,
    sum(f."orderAmount")::DECIMAL(18, 2) AS "bookedAmount",
    coalesce(sum(f."orderAmount") FILTER (status <> 'Cancelled'), 0)::DECIMAL(18, 2) AS "netSales",
    coalesce(sum(f."orderAmount" - (f."quantityOrdered" * f."buyPrice")::DECIMAL(18, 2))
        FILTER (status <> 'Cancelled'), 0)::DECIMAL(18, 2) AS "grossProfit" """

ANALYTICS = {
    "sales_by_product_line": f"""
        SELECT p."productLine", {METRICS} FROM warehouse.fact_orders f
        LEFT JOIN warehouse.dim_products p USING ("productCode") GROUP BY ALL""",
    "sales_by_country": f"""
        SELECT l.country, {METRICS} FROM warehouse.fact_orders f
        LEFT JOIN warehouse.dim_customers c USING ("customerNumber")
        LEFT JOIN warehouse.dim_locations l ON l."locationKey" = c."locationKey" GROUP BY ALL""",
    "sales_by_month": f"""
        SELECT date_trunc('month', f."orderDate")::DATE AS "orderMonth", {METRICS}
        FROM warehouse.fact_orders f GROUP BY ALL""",
}


def make_everything(shop: Path, target: Path, memory: str, threads: int = 0) -> None:
    """Make the 26 tables of the shop in the DuckDB file ``target``."""
    settings = {
        "memory_limit": memory,
        "preserve_insertion_order": False,
        "temp_directory": str(target.parent / "spill"),
    }
    with duckdb.connect(str(target), config={**settings, **({"threads": threads} if threads else {})}) as connection:
        connection.execute(f"LOAD '{extension('sqlite')}'")
        connection.execute(f"ATTACH '{shop}' AS shop (TYPE sqlite, READ_ONLY)")
        for schema in ("source", "staging", "warehouse", "analytics"):
            connection.execute(f"CREATE SCHEMA {schema}")
        for name in COLUMNS:
            connection.execute(f"CREATE TABLE source.{name} AS {read(name)}")
        for name in COLUMNS:
            connection.execute(f"CREATE TABLE staging.{name} AS {trimmed(name)}")
        for schema, tables in (("warehouse", WAREHOUSE), ("analytics", ANALYTICS)):
            for name, query in tables.items():
                connection.execute(f"CREATE TABLE {schema}.{name} AS {query}")


def read(name: str) -> str:
    """The query of a source table."""
    columns = [f't."{column}"::{kind} AS "{column}"' for column, kind in COLUMNS[name].items()]
    if name in MONTH_OF:
        columns.append(f'{MONTH_OF[name]}::DATE AS "orderMonth"')
    joined = 'LEFT JOIN shop.orders o USING ("orderNumber")' if name == "orderdetails" else ""
    return f"SELECT {', '.join(columns)} FROM shop.{name} t {joined}"


def trimmed(name: str) -> str:
    """The query of a staging table."""
    columns = [
        f"nullif(trim(\"{column}\", '{WHITE_SPACE}'), '') AS \"{column}\"" if kind == "VARCHAR" else f'"{column}"'
        for column, kind in COLUMNS[name].items()
        if kind != "BLOB"
    ]
    if name in MONTH_OF:
        columns.append('"orderMonth"')
    return f"SELECT {', '.join(columns)} FROM source.{name}"
