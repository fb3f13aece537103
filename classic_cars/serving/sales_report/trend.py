"""Bars of thirteen months as an SVG drawing: where each stands, and what is written under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

#: Of the drawing, which is scaled to the page: wide enough for thirteen labels, low enough for a phone.
WIDTH, HEIGHT, LABELS = 650, 200, 34
STEP, BAR = 50, 34


@dataclass(frozen=True)
class Bar:
    """One month; ``amount`` is None where there were no orders. The year stands under January and the first month."""

    month: date
    amount: Decimal | None
    x: float
    y: float
    height: float
    year: str

    @property
    def middle(self) -> float:
        return self.x + BAR / 2


def trend(amounts: Sequence[tuple[date, Decimal | None]]) -> list[Bar]:
    """Heights are true to the amounts, from 0 on."""
    most = max((amount for _, amount in amounts if amount), default=Decimal(1))
    room = HEIGHT - LABELS - 16
    bars = []
    for place, (month, amount) in enumerate(amounts):
        height = round(float((amount or 0) / most) * room, 1)
        year = f"{month:%Y}" if place == 0 or month.month == 1 else ""
        bars.append(Bar(month, amount, place * STEP + (STEP - BAR) / 2, HEIGHT - LABELS - height, height, year))
    return bars
