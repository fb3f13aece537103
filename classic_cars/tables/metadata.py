"""What Dagster shows: of a table before it is made, of a materialization, of a check's evaluation.

Numbers of checks are plotted, and rows are tables: nothing hides behind a link.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.checks.base import plain
from classic_cars.contracts.base import Contract
from classic_cars.tables.events import READ, asset_key
from classic_cars.tables.external import WHOLE
from classic_cars.tables.step import Outcome, Step, Unchanged
from classic_cars.tables.table import Catalog, Table


def is_personal(contract: Contract) -> bool:
    return any(contract.is_personal(column) for column in contract.types.names)


def description(contract: Contract) -> str:
    key = f"\n\nKey: {', '.join(contract.key)}." if contract.key else ""
    partition = f"\n\nPartitioned by the month of {contract.partitioned_by}." if contract.partitioned_by else ""
    return f"{contract.description}{key}{partition}"


def column_schema(contract: Contract) -> dg.TableSchema:
    """The contract's columns as Dagster shows them: types, descriptions, keys, personal data."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(kind),
                description=contract.describe(name),
                constraints=dg.TableColumnConstraints(
                    nullable=bool(contract.schema.columns[name].nullable), unique=contract.key == (name,)
                ),
                tags={"personal_data": ""} if contract.is_personal(name) else None,
            )
            for name, kind in contract.types.items()
        ]
    )


def column_lineage(table: Table, catalog: Catalog) -> dg.TableColumnLineage | None:
    """The columns behind each column; None for functions that are not expressions."""
    lineage = catalog.lineage(table)
    if not lineage:
        return None
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(asset_key=asset_key(address), column_name=name) for address, name in origins]
            for column, origins in lineage.items()
            if origins
        }
    )


def lineage_for_people(table: Table, catalog: Catalog) -> str:
    """The same as a Markdown table: Dagster's open-source web page does not draw it."""
    lines = ["| column | made from |", "|---|---|"]
    for column, origins in catalog.lineage(table).items():
        lines.append(f"| {column} | {', '.join(f'{address}.{name}' for address, name in origins)} |")
    return "\n".join(lines)


#: Metadata of a materialization that made nothing: what was published stays as it was.
UNCHANGED = "unchanged"
#: What a materialization says of how its table was made.
HOW_MADE = ("engine", "engine's page", "duration")


def materialization_metadata(step: Step, outcome: Outcome, started: float) -> dict[str, Any]:
    if outcome.staged is None:
        return {}
    metadata: dict[str, Any] = {
        "rows in this run": outcome.rows,
        "dagster/column_schema": column_schema(step.contract),
        "duration": round(time.perf_counter() - started, 3),
        "engine": step.tx.made_by.name,
        "contract version": step.contract.version,
    }
    if isinstance(outcome.staged, Unchanged):
        metadata[UNCHANGED] = True
    else:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{outcome.staged.sql}\n```")
    if WHOLE in outcome.read:
        metadata[READ] = outcome.read[WHOLE]
    metadata |= {f"total {name}": plain(value) for name, value in outcome.totals.items() if value is not None}
    if step.tx.made_by.page is not None:
        metadata["engine's page"] = dg.MetadataValue.url(step.tx.made_by.page)
    lineage = column_lineage(step.table, step.catalog)
    if lineage is not None:
        metadata["dagster/column_lineage"] = lineage
        metadata["column lineage"] = dg.MetadataValue.md(lineage_for_people(step.table, step.catalog))
    return metadata


def check_metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a check as metadata of its evaluation.

    Numbers stay numbers. Money is a float for the plot, and exact text beside it. Counts by name and lists of rows are
    tables, other lists text; what is empty is left out.
    """
    shown: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Decimal):
            shown |= {name: float(value), f"{name}, exact": _text(value)}
        elif isinstance(value, Mapping):
            rows = [{"what": each, "found": found} for each, found in value.items()]
            shown |= {name: _table(rows)} if rows else {}
        elif isinstance(value, list | tuple):
            rows = [dict(each) for each in value if isinstance(each, Mapping)]
            shown |= {name: _table(rows) if rows else ", ".join(map(_text, value))} if value else {}
        else:
            shown[name] = plain(value)
    return shown


def _table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows])


def _cell(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.2f}" if value == round(value, 2) else f"{value:,f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(plain(value))
