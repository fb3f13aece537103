"""A duration is said alike wherever it stands: in one unit, cut off."""

from __future__ import annotations

from datetime import timedelta

import pytest

from classic_cars.wording import lasting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds"),
        (0.9, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (720, "12 minutes"),
        (3_600, "1 hour"),
        (7_300, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
        (8_640_000, "100 days"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text
