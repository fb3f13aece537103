"""The proof of columns: every value of a table equals the one that its contract says it comes from.

The expected rows are put together by the contract alone, whatever the asset's function did, and both sides are
profiled in one query each: rows and the sum of a hash of each row, by month where there are months. Which columns and
keys differ is asked only when something does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.checks.base import Audit, CheckOutcome, Tables, sample
from classic_cars.checks.profiles import ROWS, Profile, added, compared, differing, profile, proven_columns
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import INFERRED, REPAIR, Column, Grain, Origins
from classic_cars.contracts.rescued import RESCUED, as_json
from classic_cars.wording import counted

#: Columns, and keys of each, that a failed check names.
NAMED = 5


class Columns:
    """Every copied column, and every derived one whose contract says how, is what its origin makes it."""

    name = "columns"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.key) and (origins.grain is not None or contract.independent is not None)

    def describe(self, contract: Contract, origins: Origins) -> str:
        proven = proven_columns(contract, origins)
        if contract.independent is not None:
            return f"All {counted(len(proven), 'column')} equal the results of an independent calculation"
        return f"{counted(len(proven), 'column')} equal to the origin, value by value: {', '.join(proven)}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        names = proven_columns(audit.contract, audit.origins)
        here, there = profiles(audit)
        facts: dict[str, Any] = {
            "columns": len(names),
            "rows": sum(each[ROWS] for each in here.values()),
            "rows expected": sum(each[ROWS] for each in there.values()),
        }
        wrong = differing(here, there)
        if wrong:  # which columns; rows that exchange values under one key differ as a whole only
            wrong = differing(*profiles(audit, each=True)) or wrong
        facts["columns that differ"] = len(wrong)
        if not wrong:
            origin = "other means" if audit.origins.grain is None else audit.origins.grain.table
            summary = f"{counted(len(names), 'column')} of {counted(facts['rows'], 'row')} equal to {origin}"
            return CheckOutcome(self.name, True, summary, facts)
        facts["months that differ"] = {name: months[:24] for name, months in wrong.items()}
        facts |= _samples(audit, list(wrong)[:NAMED])
        said = ", ".join(f"{name}{_in(months)}" for name, months in wrong.items())
        summary = f"not what the contract says they come from: {said}"
        if facts["rows"] != facts["rows expected"]:
            summary += f"; {counted(facts['rows'], 'row')}, expected {facts['rows expected']:,}"
        return CheckOutcome(self.name, False, summary, facts)


def _in(months: list[str]) -> str:
    return f" ({len(months)} months)" if len(months) > 1 else f" ({months[0]})" if months and months[0] else ""


# Expected rows -------------------------------------------------------------------------------------------


def expected_rows(audit: Audit) -> ibis.Table:
    """The rows as the contract says they must be; one row for each that the table must have."""
    contract = audit.contract
    if contract.independent is not None:
        return audit.receive(contract.independent(audit.rows))
    if contract.quarantines:
        return cleaned(contract, audit.tables[contract.quarantines])
    return made(contract, audit.origins, audit.tables)


def cleaned(contract: Contract, source: ibis.Table) -> ibis.Table:
    """The source's rows after the contract's cleaning: trimmed texts, known spellings, repaired values.

    What a value was before it got its spelling or was repaired is added to ``_rescued_data``.
    """
    columns: dict[str, ir.Value] = {name: source[name] for name in contract.types.names}
    for name, value in columns.items():
        if isinstance(value, ir.StringValue) and name != RESCUED:
            columns[name] = value.strip().nullif("")
    rows = source.select(**columns)
    instead: dict[str, ir.Value] = {}
    for rule in contract.rules:
        if rule.severity == REPAIR and rule.column is not None:
            before = instead.get(rule.column, rows[rule.column])
            instead[rule.column] = ibis.ifelse(~rule.holds(rows), None, before)
    for name in contract.types.names:
        if contract.spellings(name):
            instead[name] = _spelled(rows[name], contract.spellings(name))
    if not instead:
        return rows
    changed = [
        ibis.ifelse(rows[name].identical_to(value), None, as_json(name, rows[name])) for name, value in instead.items()
    ]
    raw = ibis.literal(", ").join([rows[RESCUED].re_replace("^[{]|[}]$", ""), *changed])  # NULLs are left out
    kept = ibis.ifelse(raw == "", None, "{" + raw + "}")
    return rows.mutate(**instead, **{RESCUED: kept})


def _spelled(value: ir.StringValue, spellings: Iterable[str]) -> ir.StringValue:
    for each in spellings:
        value = ibis.ifelse(value.lower() == each.lower(), each, value)
    return value


def made(contract: Contract, origins: Origins, tables: Tables) -> ibis.Table:
    """The rows of a table that is made from others: its grain, and what is reached from there by keys."""
    grain = origins.grain
    if grain is None:
        raise ValueError(f"{contract.address}: nothing to prove its columns by")
    early = _of_one_lookup(contract, origins)
    rows, place = _joined(contract, origins, grain, tables, early)
    columns: dict[str, ir.Value] = {}
    for name in proven_columns(contract, origins):
        origin = contract.origin(name)
        if name in early:
            value = rows[_formula(name)]
        elif origin.formula is not None:
            value = origin.formula(rows)
        else:
            value = rows[place[origins.copied[name]]]
        if origin.missing is not None:
            value = value.fill_null(origin.missing)
        kind = contract.types[name]
        columns[name] = value if value.type().copy(nullable=True) == kind else value.cast(kind)
    found = rows.select(**columns)
    found = found.distinct() if grain.distinct else found
    return found if grain.where is None else found.filter(grain.where(found))


def _of_one_lookup(contract: Contract, origins: Origins) -> dict[str, str]:
    """Derived columns all of whose parts are in one lookup: worked out there, once for each of its rows."""
    lookups = {each.table for each in origins.lookups}
    found = {}
    for name in contract.types.names:
        tables = {table for table, _ in origins.made_of.get(name, ())}
        if contract.origin(name).formula is not None and len(tables) == 1 and tables <= lookups:
            (found[name],) = tables
    return found


def _formula(name: str) -> str:
    return f"_formula_{name}"


def _joined(
    contract: Contract, origins: Origins, grain: Grain, tables: Tables, early: Mapping[str, str]
) -> tuple[ibis.Table, dict[Column, str]]:
    """The grain's rows with the columns that are needed of each lookup, and under which name each column is."""
    rows = _with_inferred(contract, grain, tables)
    place: dict[Column, str] = {(grain.table, name): name for name in rows.columns}
    needed = set(origins.copied.values())
    needed |= {each for lookup in origins.lookups for each in lookup.columns}
    for name, columns in origins.made_of.items():
        if contract.origin(name).formula is not None and name not in early:
            needed |= columns
    for number, lookup in enumerate(origins.lookups):
        other = tables[lookup.table]
        wanted = sorted(column for table, column in needed if table == lookup.table)
        formulas = {
            _formula(name): formula(other)
            for name in early
            if early[name] == lookup.table and (formula := contract.origin(name).formula) is not None
        }
        if not formulas and not wanted:
            continue
        named = {column: column if column not in rows.columns else f"_{number}_{column}" for column in wanted}
        keys = {f"_{number}_key_{column}": other[column] for column in lookup.key}
        side = other.select(**keys, **{new: other[old] for old, new in named.items()}, **formulas)
        on = [rows[place[column]] == side[key] for column, key in zip(lookup.columns, keys, strict=True)]
        rows = rows.left_join(side, on).drop(*keys)
        place |= {(lookup.table, old): new for old, new in named.items()}
    return rows, place


def _with_inferred(contract: Contract, grain: Grain, tables: Tables) -> ibis.Table:
    """The rows of the grain, and a row with nothing but its key for each reference to none of them."""
    rows = tables[grain.table].mutate(**{INFERRED: ibis.literal(False)})
    if not grain.inferred:
        return rows
    (key,) = _keys_of(contract, grain, rows)
    used = []
    for each in grain.inferred:
        value = tables[each.table][each.column]
        value = value if grain.unknown is None else value.fill_null(grain.unknown)
        used.append(value.name(key).as_table().distinct())
    wanted = ibis.union(*used).distinct() if len(used) > 1 else used[0]
    wanted = wanted.filter(wanted[key].notnull()).anti_join(rows, key)
    empty = {name: ibis.null(kind) for name, kind in rows.schema().items() if name not in (key, INFERRED)}
    return ibis.union(rows, wanted.mutate(**empty, **{INFERRED: ibis.literal(True)}).select(*rows.columns))


def _keys_of(contract: Contract, grain: Grain, rows: ibis.Table) -> tuple[str, ...]:
    """The grain's key that the references name: the contract's own, or that of the table it is distinct over."""
    own = tuple(name for name in contract.key if name in rows.columns)
    return own or (grain.inferred[0].column,)


# Profiles ------------------------------------------------------------------------------------------------


def profiles(audit: Audit, *, each: bool = False) -> tuple[Profile, Profile]:
    """What is here (staged, rejected and superseded rows together), and what is expected; asked once.

    ``each``: with a sum for each column, instead of one for all of them.
    """
    memo = f"profiles {each}"
    if memo not in audit.memo:
        contract, names = audit.contract, proven_columns(audit.contract, audit.origins)
        own = profile(contract, audit.rows, names, each=True) if each else compared(audit.profile)
        here = added([own, *(profile(contract, part, names, each=each) for part in audit.parts[1:])])
        audit.memo[memo] = here, profile(contract, expected_rows(audit), names, each=each)
    return audit.memo[memo]


def _samples(audit: Audit, names: list[str]) -> dict[str, Any]:
    """Keys at which columns differ, of rows that are missing, and of rows that should not be there."""
    contract, key = audit.contract, list(audit.contract.key)
    expected, parts = expected_rows(audit), audit.parts
    here = ibis.union(*[each.select(*expected.columns) for each in parts]) if len(parts) > 1 else parts[0]
    found: dict[str, Any] = {}
    for what, rows in (
        ("sample of missing rows", expected.anti_join(here, key)),
        ("sample of rows that should not be there", here.anti_join(expected, key)),
    ):
        if keys := sample(contract, rows):
            found[what] = keys
    there = expected.rename({f"_expected_{name}": name for name in expected.columns if name not in key})
    both = here.inner_join(there, key)
    for name in names:
        if name in expected.columns and name not in key and contract.sample_columns:
            found[f"sample {name}"] = sample(contract, both.filter(~both[name].identical_to(both[f"_expected_{name}"])))
    return found
