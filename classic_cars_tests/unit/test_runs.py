"""Which tables the options of ``run`` name, which months, and how errors are shown."""

from __future__ import annotations

import dagster as dg
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.cli.main import _show_report as show_report
from classic_cars.definitions import build_defs
from classic_cars.errors import SettingsError
from classic_cars.runs.report import RunReport
from classic_cars.runs.selecting import select_tables, shrinking_tables
from classic_cars.settings import Settings
from classic_cars.tables.run_tags import ACCEPT_SHRINK, accepted_shrinks

PRODUCTS = {"source/products", "staging/products"}


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(Settings(home=tmp_path_factory.mktemp("home")))


def selected(defs: dg.Definitions, *patterns: str) -> set[str]:
    return {key.to_user_string() for key in select_tables(defs, patterns)}


def test_no_pattern_is_everything(defs: dg.Definitions) -> None:
    assert selected(defs) == {each.address for each in ALL_TABLES}


def test_names_layers_and_wildcards(defs: dg.Definitions) -> None:
    assert selected(defs, "products") == PRODUCTS
    assert selected(defs, "source/products", "staging/products") == PRODUCTS
    assert {each.partition("/")[0] for each in selected(defs, "warehouse/*")} == {"warehouse"}
    assert selected(defs, "source/order*") == {"source/orders", "source/orderdetails"}


def test_a_plus_adds_what_is_made_from_a_table_or_what_it_is_made_from(defs: dg.Definitions) -> None:
    after = selected(defs, "source/order*+")
    assert {"source/orders", "staging/orderdetails", "warehouse/fact_orders", "analytics/sales_by_country"} <= after
    assert not {"source/customers", "staging/customers"} & after
    before = selected(defs, "+fact_orders")
    assert {"source/customers", "staging/orders", "warehouse/fact_orders"} <= before
    assert not any(each.startswith("analytics/") for each in before)


def test_dagsters_own_syntax(defs: dg.Definitions) -> None:
    assert selected(defs, 'group:"analytics"') == selected(defs, "analytics/*")


@pytest.mark.parametrize("pattern", ["no_such_table", "source/no*", "group:("])
def test_a_pattern_that_names_nothing_is_refused(defs: dg.Definitions, pattern: str) -> None:
    with pytest.raises(SettingsError, match="--select"):
        select_tables(defs, [pattern])


EVERY_SOURCE = [dg.AssetKey(["source", name]) for name in ("orders", "orderdetails", "payments")]


def test_tables_that_may_shrink_are_named_by_address_or_name_each_once() -> None:
    assert shrinking_tables((), EVERY_SOURCE) == []
    named = ("orderdetails", "source/orders", "orders")
    assert shrinking_tables(named, EVERY_SOURCE) == ["source/orderdetails", "source/orders"]


@pytest.mark.parametrize("name", ["order", "staging/orders", "fact_orders", "orders,payments", ""])
def test_a_table_that_the_order_system_does_not_have_cannot_shrink(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--accept-shrink {name}: no table of .* source/customers, .*orders"):
        shrinking_tables([name], EVERY_SOURCE)


def test_a_table_that_the_run_does_not_read_cannot_shrink() -> None:
    with pytest.raises(SettingsError, match="--accept-shrink products: this run does not read source/products"):
        shrinking_tables(["products"], EVERY_SOURCE)


def test_what_may_shrink_is_read_from_the_tag_of_a_run() -> None:
    assert ACCEPT_SHRINK == "classic_cars/accept_shrink"
    assert accepted_shrinks({ACCEPT_SHRINK: "source/orders, source/orderdetails,"}) == {
        "source/orders",
        "source/orderdetails",
    }
    assert accepted_shrinks({"another": "tag"}) == frozenset()


def test_an_error_names_its_table_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = {"staging/orders": "staging/orders: column status is missing", "store": "held by another run"}
    show_report(RunReport("run-1", succeeded=False, errors=said))
    assert capsys.readouterr().out.splitlines() == [
        "error   staging/orders: column status is missing",
        "error   store: held by another run",
    ]
