"""Quick imports: what no command needs is not imported meanwhile, and can be afterwards."""

from __future__ import annotations

import gc
import importlib
import json
import sys

import pytest

from classic_cars.cli import startup
from classic_cars.cli.startup import quick_imports


def test_what_is_not_needed_is_absent_meanwhile_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "UNUSED", ("colorsys", "json"))
    sys.modules.pop("colorsys", None)
    with quick_imports():
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
        assert importlib.import_module("json") is json  # was there before, and stays
        assert not gc.isenabled()
    assert gc.isenabled()
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)
