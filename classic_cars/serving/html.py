"""Pages as one file each: templates, the style they share, and how numbers and days are written for people.

Nothing on a page is fetched from anywhere, and nothing of it is a script. Templates escape every value.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from classic_cars.wording import rounded

TEMPLATES = Path(__file__).with_name("templates")
NOTHING = "–"
MINUS = "\N{MINUS SIGN}"


def page(name: str, **values: Any) -> str:
    """The page of a template, whole."""
    return _environment().get_template(name).render(style=style(), **values)


@cache
def style() -> str:
    return (TEMPLATES / "page.css").read_text("utf-8")


@cache
def style_source() -> str:
    """The style as a Content-Security-Policy allows it, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    return found


# For people ----------------------------------------------------------------------------------------------


def number(value: Any, form: str = ",d") -> str:
    """As :func:`~classic_cars.wording.rounded` has it, with a real minus sign; a dash for what is not known."""
    return NOTHING if value is None else rounded(value, form).replace("-", MINUS)


def money(value: Decimal | None) -> str:
    """USD, to the cent: ``$1,234.50``."""
    if value is None:
        return NOTHING
    return f"{MINUS if value < 0 else ''}${abs(value):,.2f}"


def day(value: date | None) -> str:
    """``3 Jan 2004``."""
    return NOTHING if value is None else f"{value.day} {value:%b %Y}"


def moment(value: datetime | None) -> str:
    return NOTHING if value is None else f"{day(value)}, {value:%H:%M} UTC"


def month(value: date) -> str:
    """``January 2004``."""
    return f"{value:%B %Y}"


def change(found: Any) -> str:
    """A change's size, its direction beside it: ``12.3%``, of shares ``1.2 points``."""
    return rounded(abs(found.value) * 100, ",.1f") + (" points" if found.points else "%")


def headline(found: Any) -> str:
    """The value of a measure, in its unit."""
    unit = found.measure.unit
    return money(found.value) if unit.name == "USD" else number(found.value, unit.format)


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "money": money,
    "day": day,
    "moment": moment,
    "month": month,
    "change": change,
    "headline": headline,
}
