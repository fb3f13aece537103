"""The retailer's shop: makes an order system of any size, and lets time pass in it.

``create`` makes one from a scale and a seed, ``load`` from CSV files, ``advance`` lets days pass, ``break_shop``
plants faults to practise with and ``mend_shop`` removes them; ``plan_replace`` says what ``replace=True`` would
delete. All take the URL of any database that the platform reads, and touch no table that the simulator did not make,
unless told to replace it.
"""

from classic_cars_shop.advance import AdvanceSummary, advance
from classic_cars_shop.faults import KINDS, break_shop, mend_shop
from classic_cars_shop.plan import ShopInputError
from classic_cars_shop.shop import ShopSummary, create, load, plan_replace

__all__ = [
    "KINDS",
    "AdvanceSummary",
    "ShopInputError",
    "ShopSummary",
    "advance",
    "break_shop",
    "create",
    "load",
    "mend_shop",
    "plan_replace",
]
