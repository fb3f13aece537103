"""The example notebook, run as a program from its first cell to its last."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from classic_cars.settings import Settings

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook" / "sales.py"


def notebook(settings: Settings) -> Mapping[str, Any]:
    """What its cells defined, asked of the release below this home."""
    spec = importlib.util.spec_from_file_location("sales", NOTEBOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock.patch.dict(os.environ, {"CLASSIC_CARS_HOME": str(settings.home)}):
        _, defined = module.app.run()
    defined["stack"].close()
    return dict(defined)
