"""The documents that are written from the contracts, so that they cannot go stale: see ``classic-cars docs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from classic_cars.assets import ALL_TABLES
from classic_cars.checks import descriptions
from classic_cars.contracts.base import LAYERS, Contract
from classic_cars.serving.metrics.document import metric_definitions
from classic_cars.tables.table import Catalog

NOTE = "<!-- Written by `classic-cars docs` from the contracts; change those instead. -->"


#: From columns to the columns of other tables that their values come from.
Lineage = Mapping[str, Sequence[tuple[str, str]]]


def documents() -> dict[str, str]:
    """File names in ``docs/`` and what they should hold."""
    return {"data-dictionary.md": data_dictionary(), "metrics.md": metric_definitions()}


def data_dictionary() -> str:
    """Every table of every layer: columns, types, rules, keys, references, checks and where values come from."""
    catalog = Catalog(ALL_TABLES)
    parts = [
        "# Data dictionary",
        NOTE,
        "Every table, with the rules that each version has to keep before anyone sees it. Columns marked *personal* "
        "hold personal data: they never appear in logs, metadata or samples.",
    ]
    for layer in LAYERS:
        parts.append(f"## {layer}")
        for each in (each for each in catalog if each.contract.layer == layer):
            checks = descriptions(each.contract, catalog.origins(each))
            parts.append(_table_section(each.contract, catalog.lineage(each), checks))
            parts += [_table_section(beside, {}, {}) for beside in _beside(each.contract)]
    parts += ["## quarantine", _quarantine_section()]
    return "\n\n".join(parts) + "\n"


def _table_section(contract: Contract, lineage: Lineage, checks: Mapping[str, str]) -> str:
    lines = [f"### {contract.address}", "", contract.description, ""]
    lines += _facts(contract)
    lines += ["", "| column | type | NULL | description | from |", "|---|---|---|---|---|"]
    for name, kind in contract.types.items():
        origins = ", ".join(f"{address}.{column}" for address, column in lineage.get(name, []))
        null = "yes" if contract.schema.columns[name].nullable else ""
        personal = " *personal*" if contract.is_personal(name) else ""
        lines.append(f"| {name} | {kind} | {null} | {contract.describe(name)}{personal} | {origins} |")
    rules = [rule for rule in contract.rules if not rule.forbids_null]
    if rules:
        lines += ["", "Rules: " + "; ".join(map(str, rules)) + "."]
    if checks:
        lines += ["", "Checks: " + "; ".join(f"**{name}** {text}" for name, text in checks.items()) + "."]
    return "\n".join(lines)


def _beside(contract: Contract) -> list[Contract]:
    """What is published with the table and has a section of its own, which quarantines have not."""
    return [*contract.beside, *(each.contract for each in contract.controls)]


def _facts(contract: Contract) -> list[str]:
    lines = []
    if contract.key:
        lines.append(f"- Key: {', '.join(contract.key)}")
    if contract.partitioned_by:
        lines.append(f"- Partition: month of {contract.partitioned_by}")
    if contract.references:
        lines.append("- References: " + "; ".join(str(each) for each in contract.references))
    if beside := _beside(contract):
        lines.append("- Published with it: " + ", ".join(each.address for each in beside))
    if contract.latest:
        lines.append(f"- Of rows that share the key the latest stays, by {', '.join(contract.latest.by)}")
    lines.append(f"- Contract version: {contract.version}")
    return lines


def _quarantine_section() -> str:
    lines = [
        "One table per staging table, of the same name: rows that break one of its rules, with the table's own "
        "columns (each may be NULL there) and:",
        "",
        "| column | type | description |",
        "|---|---|---|",
    ]
    contract = next(each.contract for each in ALL_TABLES if each.contract.quarantines)
    added = [name for name in contract.quarantine.types.names if name not in contract.types]
    for name in added:
        lines.append(f"| {name} | {contract.quarantine.types[name]} | {contract.quarantine.describe(name)} |")
    return "\n".join(lines)
