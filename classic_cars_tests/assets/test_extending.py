"""The code of docs/extend.md works: a kind of check is seen failing, a kind of source is read and published."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from classic_cars import checks
from classic_cars.assets import ALL_TABLES
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.settings import Settings
from classic_cars.tables import outside
from classic_cars.tables.table import Catalog
from classic_cars_tests.platform import QUIET, ask, change, run

CATALOG = Catalog(ALL_TABLES)
PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def module(file: str) -> types.ModuleType:
    """What the page writes into this file, as a module of its own."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    name = "extended_" + file.removesuffix(".py").replace("/", "_")
    made = types.ModuleType(name)
    sys.modules[name] = made  # dataclasses look their module up
    exec(compile(dict(blocks)[file], f"{PAGE}: {file}", "exec"), made.__dict__)
    return made


def add(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """What the page says to do with a kind of check; what tests share of the platform's versions stays without it."""
    assert all(CATALOG.code_version(each) for each in CATALOG)
    monkeypatch.setattr(checks, "ADDED", (kind,))
    monkeypatch.setattr(checks, "KINDS", (*checks.KINDS, kind))


def test_a_check_of_a_new_kind_makes_its_tables_out_of_date_and_no_others(monkeypatch: pytest.MonkeyPatch):
    """What was published before is judged by the next run."""
    before = {each.address: CATALOG.code_version(each) for each in CATALOG}
    add(monkeypatch, module("classic_cars/checks/future.py").NotAhead())
    catalog = Catalog([replace(each, contract=replace(each.contract)) for each in ALL_TABLES])
    assert [each.address for each in catalog if catalog.code_version(each) != before[each.address]] == [
        "staging/payments"
    ]


def test_a_check_of_a_new_kind_keeps_a_table_from_being_published(shop: Settings, monkeypatch: pytest.MonkeyPatch):
    not_ahead = module("classic_cars/checks/future.py").NotAhead()
    add(monkeypatch, not_ahead)
    select = ["source/payments", "source/customers", "source/employees", "source/offices"]
    select += [each.replace("source", "staging") for each in select]
    assert run(shop, select=select).success
    change(shop.order_system_url, "UPDATE payments SET paymentDate = '2098-01-01' WHERE amount < 5000")
    ran = run(shop, select=select)
    assert ("staging/payments", "not_ahead") in ran.failed
    assert ask(shop, "SELECT count(*) FROM staging.payments WHERE paymentDate > '2090-01-01'") == [(0,)]


class TodaysRates:
    """The service."""

    def today(self) -> list[dict]:
        return [{"currency": "EUR", "rate": Decimal("1.08")}, {"currency": "GBP", "rate": Decimal("1.27")}]


def test_a_table_of_a_new_kind_of_source_is_read_audited_and_published(shop: Settings, monkeypatch: pytest.MonkeyPatch):
    rates = module("classic_cars/sources/rates.py")
    monkeypatch.setitem(sys.modules, "classic_cars.sources.rates", rates)
    table = module("classic_cars/assets/source.py").exchange_rates
    monkeypatch.setitem(outside.READERS, rates.Rates, rates.from_rates)
    defs = build_defs(shop, tables=[*ALL_TABLES, table], resources={"rates": TodaysRates()})
    with dg.DagsterInstance.ephemeral() as instance:
        ran = defs.resolve_job_def(FULL_REFRESH).execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["source", "exchange_rates"])], run_config=QUIET
        )
    assert ran.success
    assert ask(shop, "SELECT * FROM source.exchange_rates ORDER BY 1") == [
        ("EUR", Decimal("1.08")),
        ("GBP", Decimal("1.27")),
    ]
