"""A percent is written alike wherever it stands, and as the exact ratio rounds: half away from zero."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from types import SimpleNamespace
from typing import Any

import ibis
import pytest

from classic_cars.cli.questions import _answer
from classic_cars.contracts.measures import MEASURES, Ratio
from classic_cars.dashboard.wordings import exact, short
from classic_cars.serving import html
from classic_cars.serving.metrics import AnswerColumn
from classic_cars.serving.metrics.expression import growth, share_of_total
from classic_cars.serving.sales_report.numbers import Answers, Change, report_of

#: Of the total, the first is 3.8505 %, which is 3.85 % to four decimals, and others are as near to a half.
SALES = {name: Decimal(amount) for name, amount in [("a", "38505"), ("b", "61495"), ("c", "38495"), ("d", "861505")]}
TOTAL = sum(SALES.values())


def said(value: Decimal) -> str:
    return f"{(100 * value).quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


def _kept(part: Decimal, whole: Decimal) -> Decimal:
    """As the measures keep a share of two amounts."""
    ratio = next(each for each in MEASURES.values() if isinstance(each, Ratio) and each.name == "margin")
    values = [ibis.literal(each).cast("decimal(18, 2)") for each in (part, whole)]
    return ibis.duckdb.connect().to_pyarrow(ratio.of(*values)).as_py()


def row(amount: Decimal) -> dict[str, Any]:
    return {
        "country": "x",
        "orders": 1,
        "units": 1,
        **dict.fromkeys(("bookedAmount", "netSales", "grossProfit"), amount),
    }


@pytest.mark.parametrize("name", SALES)
def test_a_share_is_written_alike_everywhere(name: str):
    share, expected = SALES[name] / TOTAL, said(SALES[name] / TOTAL)
    kept = _kept(SALES[name], TOTAL)
    assert AnswerColumn("share", "", "share", ".1%").written(kept) == expected
    assert exact(kept, ".1%") == short(kept, ".1%") == short(float(kept), ".1%") == expected
    assert html.number(kept, ".1%") == html.change(Change(kept)) == expected
    assert html.change(Change(kept, points=True)) == expected.replace("%", " points")
    assert abs(kept - share) < Decimal("0.00000001")


def test_answers_say_what_metrics_say():
    cells = [each[-1] for each in _answer("", "country", [row(each) for each in SALES.values()]).rows]
    assert cells[:-1] == [said(each / TOTAL) for each in SALES.values()] == ["3.9%", "6.1%", "3.8%", "86.2%"]


def test_growth_and_shares_are_kept_as_finely_as_ratios():
    rows = ibis.memtable({"now": ["38505", "961495"], "before": ["1000000", "1000000"]}).cast(
        {"now": "decimal(18, 2)", "before": "decimal(18, 2)"}
    )
    found = rows.select(share=share_of_total(rows.now), growth=growth(rows.now, rows.before)).to_pyarrow().to_pylist()
    assert found == [
        {"share": Decimal("0.03850500"), "growth": Decimal("-0.96149500")},
        {"share": Decimal("0.96149500"), "growth": Decimal("-0.03850500")},
    ]


def test_a_report_has_the_shares_and_changes_of_the_metrics():
    month, amounts = date(2004, 2, 1), {"orders": 1, "units": 1, "margin": None}
    total = dict.fromkeys(MEASURES) | amounts | {"netSales": TOTAL}
    lines = {name: {**amounts, "netSales": amount} for name, amount in SALES.items()}
    found = Answers({month: total}, {month: lines}, {}, {}, None)
    shares = {each.name: html.number(each.share, ".1%") for each in report_of(month, found).product_lines}
    assert shares == {"a": "3.9%", "b": "6.1%", "c": "3.8%", "d": "86.2%"}
    assert html.headline(SimpleNamespace(measure=MEASURES["margin"], value=Decimal("0.38450000"))) == "38.5%"
