"""What one benchmarked process does: ``python -m benchmarks.variants VARIANT SHOP FOLDER [MONTHS]``.

Each prints one line of JSON about itself as its last line. Imports are inside the functions, so that a
variant pays for its own libraries and nobody else's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: DuckDB's memory limit in every variant: the platform's own default on a machine of 16 GB or more.
MEMORY = "2GB"


def platform(shop: str, home: str, months: str = "", tables: str = "*", *, ephemeral: bool = True) -> dict[str, Any]:
    """The whole platform, with all checks; ``months`` such as 2004-03 and ``tables`` run only those."""
    os.environ |= {"CLASSIC_CARS_HOME": home, "CLASSIC_CARS_SOURCE_URL": f"sqlite:///{shop}"}
    from classic_cars.cli.startup import quick_imports

    with quick_imports():
        from classic_cars.months import Months
        from classic_cars.runs import execute
        from classic_cars.settings import load_settings

    started = time.perf_counter()
    report = execute(load_settings(), [tables], Months.parse(months) if months else None, ephemeral=ephemeral)
    seconds = time.perf_counter() - started
    if not report.succeeded:
        raise SystemExit(f"the run failed: {report.errors} {report.failed_checks}")
    return {"inside": seconds, "events": report.events, "tables": len(report.published)}


def persistent(shop: str, home: str, months: str = "") -> dict[str, Any]:
    """The same on the persistent Dagster instance, as the command line runs it."""
    return platform(shop, home, months, ephemeral=False)


#: What happens in a shop between two runs: statements of its SQLite file.
CHANGES = {
    "edit": (
        "UPDATE orders SET comments = 'called ' || random() WHERE orderNumber = "
        "(SELECT min(orderNumber) FROM orders WHERE orderDate LIKE '2004-03%')",
    ),
    "sale": (
        "INSERT INTO orders SELECT max(orderNumber) + 1, max(orderDate), date(max(orderDate), '+7 days'), NULL, "
        "'In Process', NULL, min(customerNumber) FROM orders",
        "INSERT INTO orderdetails SELECT (SELECT max(orderNumber) FROM orders), productCode, 3, MSRP, 1 FROM products "
        "ORDER BY productCode LIMIT 1",
        "UPDATE products SET quantityInStock = quantityInStock - 3 WHERE productCode = "
        "(SELECT min(productCode) FROM products)",
    ),
    "customer": (
        "INSERT INTO customers SELECT max(customerNumber) + 1, 'Newcomer', contactLastName, contactFirstName, phone, "
        "addressLine1, addressLine2, city, state, postalCode, country, salesRepEmployeeNumber, creditLimit "
        "FROM customers",
    ),
}


def changed(shop: str, home: str, change: str = "", months: str = "") -> dict[str, Any]:
    """``classic-cars run``: what changed in the shop since the last time; ``change``: one of ``CHANGES``, before.

    ``months``: ``--months``, which makes them in any case.
    """
    os.environ |= {"CLASSIC_CARS_HOME": home, "CLASSIC_CARS_SOURCE_URL": f"sqlite:///{shop}"}
    if change:
        import sqlite3

        with sqlite3.connect(shop) as connection:
            for statement in CHANGES[change]:
                connection.execute(statement)
        connection.close()
    started = time.perf_counter()
    from classic_cars.cli.startup import quick_imports

    with quick_imports():
        from classic_cars.months import Months
        from classic_cars.runs import execute_what_changed
        from classic_cars.settings import load_settings
    imported = time.perf_counter()
    report = execute_what_changed(load_settings(), Months.parse(months) if months else None)
    if not report.succeeded:
        raise SystemExit(f"the run failed: {report.errors} {report.failed_checks}")
    now = time.perf_counter()
    facts = {"events": report.events, "tables": len(report.published)}
    return {"inside": now - started, "after imports": now - imported, **facts}


def script(shop: str, folder: str) -> dict[str, Any]:
    """The hand-written script."""
    from benchmarks.script import make_everything

    started = time.perf_counter()
    make_everything(Path(shop), Path(folder) / "script.duckdb", MEMORY)
    return {"inside": time.perf_counter() - started}


def pandas(shop: str, folder: str) -> dict[str, Any]:
    """pandas assets on dagster-duckdb-pandas' IO manager."""
    from benchmarks.pandas_assets import materialize_everything

    started = time.perf_counter()
    materialize_everything(Path(shop), Path(folder) / "pandas.duckdb", MEMORY)
    return {"inside": time.perf_counter() - started}


def dbt(_shop: str, folder: str) -> dict[str, Any]:
    """``dbt build`` of the same tables, with the contracts' rules, keys and references as its tests."""
    started = time.perf_counter()
    project = Path(folder) / "project"
    command = [Path(folder).parent / "dbt" / "bin" / "dbt", "--quiet", "--no-use-colors", "build"]
    command += ["--project-dir", project, "--profiles-dir", project]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dbt build failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {"inside": time.perf_counter() - started}


def dbt_project(shop: str, folder: str) -> dict[str, Any]:
    """Write and parse what :func:`dbt` builds; that is no part of its time."""
    from benchmarks import dbt_project

    project = Path(folder) / "project"
    project.mkdir(parents=True)
    tests = dbt_project.write_project(project, Path(shop), Path(folder) / "dbt.duckdb", MEMORY)
    dbt_project.parse(dbt_project.dbt(Path(folder).parent / "dbt"), project)
    return {"tests": tests}


def audit(_shop: str, home: str) -> dict[str, Any]:
    """All checks of ``fact_orders`` beside hand-written queries, on what the platform published in ``home``."""
    os.environ["CLASSIC_CARS_HOME"] = home
    from benchmarks.audit import compare

    return compare()


def equal(store: str, other: str, exact: str) -> dict[str, Any]:
    """Compare two DuckDB files, the first made by the platform."""
    from benchmarks.equality import differences

    found = differences(Path(store), Path(other), exact=exact == "exact")
    if found:
        raise SystemExit("; ".join(found))
    return {}


def shop(path: str, lines: str) -> dict[str, Any]:
    """Make a shop with about so many order lines."""
    from classic_cars_shop import api as simulator

    started = time.perf_counter()
    unfinished = Path(path + ".part")
    unfinished.unlink(missing_ok=True)
    simulator.create(f"sqlite:///{unfinished}", scale=int(lines) / 3000, seed=0)
    unfinished.rename(path)
    return {"inside": time.perf_counter() - started}


def look(url: str) -> dict[str, Any]:
    """Look at an order system, as its sensor does; the second look counts.

    The peak is this process's own: the measuring process, which has more libraries, is not in it.
    """
    from classic_cars.sources.order_system import open_order_system

    system = open_order_system(url)
    before = system.fingerprints()
    started = time.perf_counter()
    if system.fingerprints() != before:
        raise SystemExit("two looks differ")
    seconds = time.perf_counter() - started
    system.change_signs()
    started = time.perf_counter()
    system.change_signs()
    signs = time.perf_counter() - started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"seconds": seconds, "signs": signs, "peak_mb": int(status["VmHWM"].split()[0]) / 1024}


VARIANTS = {
    each.__name__: each
    for each in (platform, persistent, changed, script, pandas, dbt, dbt_project, audit, equal, shop, look)
}

if __name__ == "__main__":
    print(json.dumps(VARIANTS[sys.argv[1]](*sys.argv[2:])))
