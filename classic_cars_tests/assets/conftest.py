"""Fixtures of platforms that run themselves; modules with fixtures of the same name have their own."""

from classic_cars_tests.unattended import (
    clock,
    filled,
    filled_once,
    instance,
    large,
    platform,
    restless,
    settings,
    shop_copy,
)

__all__ = [
    "clock",
    "filled",
    "filled_once",
    "instance",
    "large",
    "platform",
    "restless",
    "settings",
    "shop_copy",
]
