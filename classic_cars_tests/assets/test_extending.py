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
from classic_cars.errors import ContractError
from classic_cars.settings import Settings
from classic_cars.tables import outside
from classic_cars.tables.table import Catalog, Table
from classic_cars_tests.platform import QUIET, ask, change, run

CATALOG = Catalog(ALL_TABLES)
PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def written(file: str) -> str:
    """What the page writes into this file."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)[file]


def module(file: str) -> types.ModuleType:
    """The same, as a module of its own."""
    name = "extended_" + file.removesuffix(".py").replace("/", "_")
    made = types.ModuleType(name)
    sys.modules[name] = made  # dataclasses look their module up
    exec(compile(written(file), f"{PAGE}: {file}", "exec"), made.__dict__)
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


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> Table:
    """The table of the page's source, which is known as the page says."""
    for file in ("sources/rates", "tables/rates"):
        name = f"classic_cars.{file.replace('/', '.')}"
        monkeypatch.setitem(sys.modules, name, module(f"classic_cars/{file}.py"))
    monkeypatch.setattr(outside, "READERS", dict(outside.READERS))
    exec(written("classic_cars/tables/outside.py"), vars(outside) | {"READERS": outside.READERS})
    made: Table = module("classic_cars/assets/source.py").exchange_rates
    return made


def test_a_table_of_a_new_kind_of_source_is_read_audited_and_published(shop: Settings, rates: Table):
    service = shop.home / "today.json"
    service.write_text('[{"currency": "EUR", "rate": 1.08}, {"currency": "GBP", "rate": 1.27}]')
    assert rates.arrives_from is not None
    assert f'"{rates.arrives_from.system}": RatesResource(' in PAGE.read_text()
    resource = module("classic_cars/resources/rates.py").RatesResource(url=service.as_uri())
    defs = build_defs(shop, tables=[*ALL_TABLES, rates], resources={"rates": resource})
    outside = defs.resolve_asset_graph().get(dg.AssetKey(["rates", "exchange_rates"]))
    assert outside.is_external
    assert not outside.is_observable  # nobody can ask it what changed
    with dg.DagsterInstance.ephemeral() as instance:
        ran = defs.resolve_job_def(FULL_REFRESH).execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["source", "exchange_rates"])], run_config=QUIET
        )
    assert ran.success
    assert ask(shop, "SELECT * FROM source.exchange_rates ORDER BY 1") == [
        ("EUR", Decimal("1.08")),
        ("GBP", Decimal("1.27")),
    ]


def test_a_source_that_nobody_reads_is_named_when_definitions_are_loaded(
    tmp_path: Path, rates: Table, monkeypatch: pytest.MonkeyPatch
):
    settings, tables = Settings(home=tmp_path), [*ALL_TABLES, rates]
    with pytest.raises(ContractError, match="source/exchange_rates: arrives from 'rates', and there is no resource"):
        build_defs(settings, tables=tables)
    monkeypatch.delitem(outside.READERS, type(rates.arrives_from))
    with pytest.raises(ContractError, match="source/exchange_rates: nobody reads from Rates; add it to READERS"):
        build_defs(settings, tables=tables, resources={"rates": object()})
