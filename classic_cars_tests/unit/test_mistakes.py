"""Mistakes in what somebody adds are said when definitions are loaded: where, what is wrong, and what was meant."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import pandera.ibis as pa
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.cli import terminal
from classic_cars.contracts.cuts import DIMENSIONS
from classic_cars.contracts.measures import MEASURES, Metric
from classic_cars.contracts.vocabulary import Int, Reconciliation, Reference, TableModel, Text, clean, facts, row_rule
from classic_cars.errors import ContractError
from classic_cars.serving.metrics import ask, expression
from classic_cars.serving.metrics.fitting import check_metrics
from classic_cars.serving.metrics.rows import contracts
from classic_cars.tables.fitting import check_contracts
from classic_cars.tables.table import Catalog, Table, parameters, table, unbound_table

PRODUCTS = "staging/products"


def numbers(annotation: Any = Int, rules: dict[str, Any] | None = None, unique: Any = None, **said: Any) -> Table:
    """A table of one number and one text, with what a test says of it."""

    class Config:
        name = "warehouse/numbers"
        metadata = facts(**said)

    if unique is not None:
        Config.unique = unique  # type: ignore[attr-defined]
    columns = {"number": annotation, "word": Text}
    fields = {name: pa.Field(description="Anything") for name in columns}
    model = type(
        "Numbers",
        (TableModel,),
        {"__module__": __name__, "__annotations__": columns, **fields, **(rules or {}), "Config": Config},
    )
    return table(model)(lambda products: products)


def positive(cls: type, rows: ibis.Table) -> ibis.expr.types.BooleanValue:
    return rows.numbr > 0


def by_number(by: str) -> Reconciliation:
    return Reconciliation("by number", (by,), lambda rows: rows.select("number"), lambda products: products)


MISTAKES: dict[str, tuple[Callable[[], Table], str]] = {
    "a type that is not imported": (
        lambda: numbers("Missing"),
        "its contract Numbers is wrong: NameError: .*'Missing'",
    ),
    "a misspelt column of a text rule": (lambda: numbers(rules={"texts": clean("wrod")}), "non-existing field 'wrod'"),
    "a misspelt word of facts": (lambda: numbers(partition_by="word"), "no partition_by; did you mean partitioned_by?"),
    "a rule over a column that is not there": (
        lambda: numbers(rules={"positive": row_rule("above 0")(positive)}),
        "rule 'positive' is wrong: AttributeError: .*numbr",
    ),
    "a bound of another type": (
        lambda: numbers(rules={"number": pa.Field(ge="x")}),
        "rule 'number: greater_than_or_equal_to.*' is wrong",
    ),
    "a total of a column that is not there": (
        lambda: numbers(totals={"sum": lambda rows: rows.numbr.sum()}),
        "total 'sum' is wrong: AttributeError",
    ),
    "a key": (lambda: numbers(unique=["numbr"]), "unique names column numbr, which is not there; did you mean number?"),
    "a partition": (lambda: numbers(partitioned_by="day"), "partitioned_by names column day, which is not there"),
    "a quarantined table": (lambda: numbers(quarantines="source/product"), "no table; did you mean source/products?"),
    "a reference from a column that is not there": (
        lambda: numbers(references=[Reference("numbr", PRODUCTS, "productCode")]),
        "its reference to staging/products names column numbr, .*; did you mean number?",
    ),
    "a reference to a column that is not there": (
        lambda: numbers(references=[Reference("word", PRODUCTS, "productcode")]),
        "its reference to staging/products names column productcode, .*; did you mean productCode?",
    ),
    "a reference to a table that is not there": (
        lambda: numbers(references=[Reference("word", "staging/product", "productCode")]),
        "its reference to staging/product names no table; did you mean staging/products?",
    ),
    "groups of a reconciliation": (
        lambda: numbers(reconciliations=[by_number("numbr")]),
        "by of reconciliation 'by number' names column numbr, which is not there; did you mean number?",
    ),
}


@pytest.mark.parametrize(("made", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_contract_is_named_when_definitions_are_loaded(made: Callable[[], Table], said: str):
    with pytest.raises(ContractError, match=f"^warehouse/numbers: .*{said}"):
        check_contracts(Catalog([*ALL_TABLES, made()]))


def test_every_contract_and_metric_of_the_platform_fits():
    check_contracts(Catalog(ALL_TABLES))
    check_metrics()


def test_every_reconciliation_has_its_groups_on_both_sides():
    """Loading compiles one side of each; the other takes ten times as long."""
    catalog = Catalog(ALL_TABLES)
    for each in catalog:
        for one in each.contract.reconciliations:
            tables = [unbound_table(catalog.resolve_contract(each, name)) for name in parameters(one.expected)]
            assert set(one.by) <= set(one.expected(*tables).columns), one.name


UNITS = MEASURES["units"]
assert isinstance(UNITS, Metric)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (replace(UNITS, of=lambda rows: rows.quantity.sum()), "its value of warehouse/fact_orders is wrong: Attribute"),
        (replace(UNITS, columns=("quantityOrder",)), "quantityOrder, .* did you mean quantityOrdered?"),
    ],
)
def test_a_mistake_in_a_measure_is_named(measure: Metric, said: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ContractError, match=f"^measure units: .*{said}"):
        check_metrics([measure])
    monkeypatch.setitem(MEASURES, "units", measure)
    if "Attribute" in said:
        with pytest.raises(ContractError, match=r"^measure units: "):
            expression(ask(["units"]), lambda contract: unbound_table(contracts()[contract.address]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "customer"}, "key names column customer, which is not there; did you mean customerNumber?"),
        ({"columns": (("country", "land"),)}, "columns names column land, which is not there"),
    ],
)
def test_a_mistake_in_a_dimension_is_named(change: dict[str, Any], said: str):
    with pytest.raises(ContractError, match=re.escape(f"dimension country: {said}")):
        check_metrics([], [replace(DIMENSIONS["country"], **change)])


# Modules that cannot be loaded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\ny = (\n", "assets/sales.py:2: SyntaxError: '(' was never closed"),
        ("\nclass Sales:\n    units: Long = 1\n", "assets/sales.py:3: NameError: name 'Long' is not defined"),
        ("from classic_cars.errors import Missing\n", "assets/sales.py:1: ImportError: cannot import name 'Missing'"),
        ("int('hunter2')\n", "assets/sales.py:1: ValueError; nothing was loaded: correct this module"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_named_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
):
    monkeypatch.setattr(terminal, "PACKAGE", tmp_path)
    file = tmp_path / "assets" / "sales.py"
    file.parent.mkdir()
    file.write_text(code)
    with pytest.raises(Exception) as failed:  # noqa: PT011
        load(file)
    told = terminal.message_of(failed.value)
    assert told.startswith(f"{tmp_path.name}/{said}")
    assert "bug" not in told


def load(file: Path) -> None:
    spec = importlib.util.spec_from_file_location("sales", file)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_what_fails_later_is_still_called_a_bug():
    def later() -> None:
        raise ValueError("hunter2")

    with pytest.raises(ValueError, match="hunter2") as failed:
        later()
    told = terminal.message_of(failed.value)
    assert "bug of the platform" in told
    assert "hunter2" not in told


def test_an_annotation_of_a_function_that_is_not_imported_is_named():
    def lines(products: Missing) -> ibis.Table:  # type: ignore[name-defined]  # noqa: F821
        return products

    with pytest.raises(ContractError, match="an annotation of its function is wrong: NameError: name 'Missing'"):
        assert Table(contracts()["warehouse/dim_products"], lines).inputs
