"""The landing zone, and how what lies there becomes rows.

``place`` says which files are complete and gives their bytes (``folder``, ``bucket``); ``copies`` takes a file here,
hashed and examined on the way (``text``, ``parquet``); ``lines`` reads the copies as rows; ``digests`` proves the rows
against the lines. Which files are new, and what becomes of their rows, is decided in ``tables/landed.py``.
"""

from __future__ import annotations

from classic_cars.sources.landing.listing import LandedFile, Listing, Unreadable
from classic_cars.sources.landing.place import Landing

__all__ = ["LandedFile", "Landing", "Listing", "Unreadable"]
