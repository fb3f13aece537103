"""The map: shapes of countries that are shipped with the package, so that no request leaves the machine.

``static/world.json`` is made from Natural Earth's 1:110m countries, which are in the public domain
(naturalearthdata.com), thinned to tenths of a degree, with the order system's names of countries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHAPES = Path(__file__).with_name("static") / "world.json"
#: Where the server offers it to browsers, which keep it.
ADDRESS = "/app/static/world.json"
#: Longitude and latitude of countries that the shapes' scale has no room for.
SMALL = {
    "Andorra": (1.6, 42.5),
    "Antigua and Barbuda": (-61.8, 17.1),
    "Bahrain": (50.6, 26.0),
    "Barbados": (-59.5, 13.2),
    "Cape Verde": (-23.6, 15.1),
    "Comoros": (43.3, -11.7),
    "Dominica": (-61.4, 15.4),
    "Grenada": (-61.7, 12.1),
    "Hong Kong": (114.2, 22.3),
    "Kiribati": (173.0, 1.4),
    "Liechtenstein": (9.5, 47.2),
    "Macau": (113.5, 22.2),
    "Maldives": (73.5, 4.2),
    "Malta": (14.4, 35.9),
    "Marshall Islands": (171.2, 7.1),
    "Mauritius": (57.6, -20.3),
    "Micronesia": (158.2, 6.9),
    "Monaco": (7.4, 43.7),
    "Nauru": (166.9, -0.5),
    "Palau": (134.6, 7.5),
    "Saint Kitts and Nevis": (-62.8, 17.3),
    "Saint Lucia": (-61.0, 13.9),
    "Saint Vincent and the Grenadines": (-61.2, 13.3),
    "Samoa": (-172.1, -13.8),
    "San Marino": (12.5, 43.9),
    "Sao Tome and Principe": (6.6, 0.2),
    "Seychelles": (55.5, -4.7),
    "Singapore": (103.8, 1.4),
    "Tonga": (-175.2, -21.2),
    "Tuvalu": (179.2, -8.5),
    "Vatican City": (12.5, 41.9),
}


def drawn() -> frozenset[str]:
    """Countries that the map can show, as a shape or as a point."""
    features = json.loads(SHAPES.read_text(encoding="utf-8"))["features"]
    return frozenset({each["properties"]["country"] for each in features} | SMALL.keys())


def points_with(values: Mapping[str, Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Those that are drawn as points: country, longitude, latitude and their values."""
    return [
        {"country": name, "longitude": place[0], "latitude": place[1], **values[name]}
        for name, place in SMALL.items()
        if name in values
    ]
