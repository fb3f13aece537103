"""The same 26 tables by dbt: the hand-written script's SQL as models, and the contracts' rules, keys and references as
dbt's own kind of tests, built in one ``dbt build`` with the DuckDB adapter.

dbt lives in a virtual environment of its own, because its dependencies are not the platform's; :func:`dbt` makes it
when it is not there. Each rule is a test and each test is a query, as in dbt they are; rules that need the platform's
own columns are left out. What dbt has nothing for is not in it: control totals of the source, quarantine,
reconciliations between tables, columns compared with where they come from, readers that never see half a run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.script import ANALYTICS, COLUMNS, WAREHOUSE, read, trimmed

PACKAGES = ("dbt-core==1.11.16", "dbt-duckdb==1.11.1", "duckdb==1.5.5")
LAYERS = ("source", "staging", "warehouse", "analytics")

MACROS = """
{% macro generate_schema_name(custom_schema_name, node) %}{{ custom_schema_name }}{% endmacro %}
{% test holds(model, condition) %}SELECT 1 FROM {{ model }} AS t0 WHERE NOT ({{ condition }}){% endtest %}
{% test one_row_each(model, columns) %}
SELECT 1 FROM {{ model }} GROUP BY {{ columns }} HAVING count(*) > 1
{% endtest %}
"""


def dbt(folder: Path) -> Path:
    """The ``dbt`` of a virtual environment in this folder, which is made when it is not there."""
    program = folder / "bin" / "dbt"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *PACKAGES], check=True)
    return program


def parse(program: Path, project: Path) -> None:
    """What dbt does once for a project, and not again before it changes."""
    command = [program, "--quiet", "parse", "--project-dir", project, "--profiles-dir", project]
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)


def write_project(project: Path, shop: Path, target: Path, memory: str) -> int:
    """Write the dbt project; how many tests it has."""
    from classic_cars.sources.scanner import extension

    settings = {"memory_limit": memory, "preserve_insertion_order": False, "temp_directory": str(project / "spill")}
    hooks = [f"LOAD '{extension('sqlite')}'", f"ATTACH IF NOT EXISTS '{shop}' AS shop (TYPE sqlite, READ_ONLY)"]
    models = {layer: {"+schema": layer, "+materialized": "table"} for layer in LAYERS}
    _write(
        project / "dbt_project.yml",
        {
            **{"name": "shop", "profile": "shop", "config-version": 2},
            **{"on-run-start": hooks, "models": {"shop": models}, "flags": {"send_anonymous_usage_stats": False}},
        },
    )
    output = {"type": "duckdb", "path": str(target), "threads": 2, "settings": settings}
    _write(project / "profiles.yml", {"shop": {"target": "it", "outputs": {"it": output}}})
    (project / "macros").mkdir(exist_ok=True)
    (project / "macros" / "macros.sql").write_text(MACROS)
    queries = dict(_queries())
    for address, query in queries.items():
        layer, _, name = address.partition("/")
        path = project / "models" / layer / f"{layer}__{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{{{{ config(alias='{name}') }}}}\n{_with_references(query, queries)}")
    described = [{"name": address.replace("/", "__"), "data_tests": _tests(address, queries)} for address in queries]
    _write(project / "models" / "tests.yml", {"version": 2, "models": described})
    return sum(len(each["data_tests"]) for each in described)


def _queries() -> Iterator[tuple[str, str]]:
    for name in COLUMNS:
        yield f"source/{name}", read(name)
        yield f"staging/{name}", trimmed(name)
    for layer, tables in (("warehouse", WAREHOUSE), ("analytics", ANALYTICS)):
        for name, query in tables.items():
            yield f"{layer}/{name}", query


def _with_references(query: str, known: dict[str, str]) -> str:
    """``staging.orders`` as ``{{ ref('staging__orders') }}``."""

    def reference(found: re.Match[str]) -> str:
        layer, name = found.groups()
        return f"{{{{ ref('{layer}__{name}') }}}}" if f"{layer}/{name}" in known else found.group()

    return re.sub(rf"\b({'|'.join(LAYERS)})\.(\w+)", reference, query)


def _tests(address: str, known: dict[str, str]) -> list[dict[str, object]]:
    """The contract's rules, key and references as tests."""
    import ibis
    from ibis.common.exceptions import IbisError

    from classic_cars.assets import ALL_TABLES
    from classic_cars.tables.table import Catalog

    contract = Catalog(ALL_TABLES)[address].contract
    own = {name for name in contract.types.names if name.startswith("_") or name == "isInferred"}
    columns = ibis.table({name: kind for name, kind in contract.types.items() if name not in own}, name="t")
    tests: list[dict[str, object]] = []
    for rule in contract.rules:
        try:
            condition = rule.holds(columns)
        except (IbisError, AttributeError):
            continue  # about the platform's own columns
        sql = ibis.to_sql(columns.filter(condition), dialect="duckdb").rpartition("WHERE")[2]
        tests.append({"holds": {"name": f"rule_{len(tests)}_{address.replace('/', '_')}", "condition": sql.strip()}})
    if contract.key:
        key = ", ".join(f'"{name}"' for name in contract.key)
        tests.append({"one_row_each": {"name": f"key_{address.replace('/', '_')}", "columns": key}})
    for each in contract.references:
        if each.to in known:
            names = {"field": f'"{each.to_column}"', "column_name": f'"{each.column}"'}
            tests.append({"relationships": {"to": f"ref('{each.to.replace('/', '__')}')", **names}})
    return tests


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=10_000))
