"""Checks of a table by itself: its columns, the rules of its rows, its key, and what it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome, Tables, broken_references, duplicates, orphaned, sample
from classic_cars.contracts.base import Contract
from classic_cars.contracts.differences import schema_differences
from classic_cars.contracts.origins import FLAG, Origins
from classic_cars.contracts.rules import Rule
from classic_cars.contracts.vocabulary import Reference
from classic_cars.wording import counted


class Schema:
    """Columns and types, of what was staged and of what arrived."""

    name = "schema"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return True

    def describe(self, contract: Contract, origins: Origins) -> str:
        return "Columns and types are those of the contract"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        found = audit.rows.schema()
        problems = schema_differences(audit.contract, found)
        facts: dict[str, Any] = {"columns": len(found)}
        if problems:
            return CheckOutcome(self.name, False, "; ".join(problems), facts | {"differences": problems})
        drift = getattr(audit.arrived, "drift", None)
        if drift:
            return _drifted(drift, facts)
        return CheckOutcome(self.name, True, f"{counted(len(found), 'column')} as in the contract", facts)


def _drifted(drift: Any, facts: dict[str, Any]) -> CheckOutcome:
    """New or retyped columns of the order system do no harm to the columns that are read: a warning."""
    parts = [f"new columns that are not read: {', '.join(drift.added)}"] if drift.added else []
    parts += [f"other types than declared: {', '.join(drift.retyped)}"] if drift.retyped else []
    facts = facts | {"added": list(drift.added), "retyped": list(drift.retyped)}
    return CheckOutcome("schema", False, f"the order system's table changed: {'; '.join(parts)}", facts, warning=True)


class Values:
    """Every row-level rule. What is flagged or was repaired is a warning, with counts."""

    name = "values"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.rules)

    def describe(self, contract: Contract, origins: Origins) -> str:
        flagged = sum(rule.severity == FLAG for rule in contract.rules)
        also = f"; {flagged} of them only {'warns' if flagged == 1 else 'warn'}" if flagged else ""
        return f"All rows satisfy the contract ({counted(len(contract.rules), 'rule')}){also}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        contract, measured = audit.contract, audit.measured
        rules = {rule.name: rule for rule in contract.rules}
        broken = {name: rows for name, rows in measured.broken_rules.items() if rules[name].severity != FLAG}
        flagged = {name: rows for name, rows in measured.broken_rules.items() if rules[name].severity == FLAG}
        facts: dict[str, Any] = {
            "rows": measured.rows,
            "rules": len(rules),
            "rows that break a rule": sum(broken.values()),
            "rows flagged": sum(flagged.values()),
            "values repaired": sum(measured.repaired.values()),
            "rules broken": {rules[name].broken: rows for name, rows in measured.broken_rules.items()},
            "columns repaired": measured.repaired,
        }
        facts |= {f"total {name}": value for name, value in measured.totals.items()}
        for name in measured.broken_rules:
            facts[f"sample {name}"] = sample(contract, audit.rows.filter(~rules[name].holds(audit.rows)))
        if broken:
            return CheckOutcome(self.name, False, f"broken: {_listed(broken, rules)}", facts)
        said = [f"flagged: {_listed(flagged, rules)}"] if flagged else []
        if measured.repaired:
            columns = ", ".join(f"{name} in {counted(rows, 'row')}" for name, rows in measured.repaired.items())
            said.append(f"repaired, with the raw value kept in _rescued_data: {columns}")
        if said:
            return CheckOutcome(self.name, False, "; ".join(said), facts, warning=True)
        return CheckOutcome(
            self.name,
            True,
            f"{counted(measured.rows, 'row')} satisfy the contract ({counted(len(rules), 'rule')})",
            facts,
        )


def _listed(broken: Mapping[str, int], rules: Mapping[str, Rule]) -> str:
    return "; ".join(f"{counted(count, 'row')}: {rules[name].broken}" for name, count in broken.items())


class Keys:
    """No key occurs twice among the new rows, nor both among them and the months that stay beside them."""

    name = "keys"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.key)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return f"{', '.join(contract.key)}: unique"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        contract, key = audit.contract, list(audit.contract.key)
        repeated, rows = audit.repeated_keys
        others, elsewhere = audit.staged.others, 0
        if others is not None:
            elsewhere = others.semi_join(audit.rows, key).count().to_pyarrow().as_py()
        facts: dict[str, Any] = {
            "key": ", ".join(key),
            "duplicate keys": repeated,
            "rows with a duplicate key": rows,
            "keys also present in other partitions": elsewhere,
        }
        if repeated:
            facts["sample"] = sample(contract, duplicates(audit.rows, contract))
        if elsewhere:
            facts["sample of other months"] = sample(contract, audit.rows.semi_join(others, key))
        if repeated or elsewhere:
            summary = (
                f"{counted(repeated, 'duplicate key')}, {elsewhere:,} also present in partitions outside {audit.months}"
            )
            if elsewhere and others is not None:
                summary += f" ({_months(contract, others.semi_join(audit.rows, key))}): run those months too"
            return CheckOutcome(self.name, False, summary, facts)
        return CheckOutcome(self.name, True, f"{', '.join(key)} is unique", facts)


def _months(contract: Contract, rows: ibis.Table) -> str:
    """The first months that rows are in."""
    month = rows[contract.partitioned_by or ""].truncate("M").name("month")
    found = rows.select(month).distinct().order_by("month").limit(6).to_pyarrow().column("month").to_pylist()
    return ", ".join(f"{each:%Y-%m}" for each in found)


class References:
    """Every reference exists. A warning for flagged ones, and for rows of other months whose member is gone since."""

    name = "references"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.references)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return f"Every reference exists: {'; '.join(map(str, contract.references))}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        contract, broken = audit.contract, audit.measured.broken_references
        facts: dict[str, Any] = {
            "references": len(contract.references),
            "rows that refer to nothing": sum(broken.values()),
        }
        facts["references broken"] = broken
        for each in contract.references:
            if str(each) in broken:
                facts[f"sample {each}"] = sample(contract, audit.rows.filter(orphaned(audit.rows, each, audit.tables)))
        blocking = [str(each) for each in contract.references if str(each) in broken and each.otherwise != FLAG]
        said = "; ".join(f"{counted(count, 'row')} without {name}" for name, count in broken.items())
        if blocking:
            return CheckOutcome(self.name, False, said, facts)
        lost = self._dangling(audit)
        facts["other months with rows that refer to nothing"] = {
            name: ", ".join(months) for name, months in lost.items()
        }
        if lost:
            flagged = {str(each) for each in contract.references if each.otherwise == FLAG}
            parts = "; ".join(f"{name}: {', '.join(months)}" for name, months in lost.items())
            again = "to what does not exist" if flagged >= {*lost} else "to what is gone since, materialize them again"
            said += "; " if said else ""
            said += f"rows of other months refer {again} ({parts})"
        elif said:
            said += "; the rows stay, the warehouse infers the missing members"
        if said:
            return CheckOutcome(self.name, False, said, facts, warning=True)
        return replace(all_found(contract), facts=facts)

    @staticmethod
    def _dangling(audit: Audit) -> dict[str, list[str]]:
        others = audit.staged.others
        return {} if others is None else dangling(audit.contract, others, audit.whole_references, audit.tables)


def all_found(contract: Contract) -> CheckOutcome:
    """The verdict where no reference is broken."""
    count = len(contract.references)
    said = f"{counted(count, 'reference')} checked: no row refers to what does not exist"
    return CheckOutcome(References.name, True, said, {"references": count, "rows that refer to nothing": 0})


def dangling(
    contract: Contract, others: ibis.Table, references: Sequence[Reference], tables: Tables
) -> dict[str, list[str]]:
    """By reference, the months whose published rows refer to nothing any more: a dimension was rebuilt since.

    ``references``: those to tables that hold all their rows, whatever the month.
    """
    found: dict[str, list[str]] = {}
    month = contract.partitioned_by or ""
    for each in broken_references(references, others, tables):
        used = others.select(each.column, month=others[month].truncate("M")).distinct()
        lost = used.filter(orphaned(used, each, tables)).select("month").distinct().order_by("month")
        months = lost.to_pyarrow().column("month").to_pylist()
        if months:
            found[str(each)] = [f"{each:%Y-%m}" for each in months]
    return found
