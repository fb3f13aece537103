"""A quick start and a quick end for short-lived processes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What pandera imports where it is installed, for what this platform does not do: a sixth of a second.
UNUSED = ("hypothesis", "pyspark.pandas")


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import libraries without the garbage collector and without what they do not need, and never collect them again.

    Modules live as long as the process; collecting among their half a million objects, again and again while
    they load and once more at the end, took a quarter of a small run.
    """
    gc.disable()
    absent: dict[str, Any] = {name: None for name in UNUSED if name not in sys.modules}
    sys.modules.update(absent)  # as Python has it: importing them raises ImportError
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
        gc.freeze()
        gc.enable()
