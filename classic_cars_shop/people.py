"""Employees and customers as rows: names, addresses, telephone numbers, in the manner of their country."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NamedTuple

from classic_cars_shop import catalogue as words

#: Of 122 customers: contacts whose given name was typed with a space behind it, and second address lines.
SPACE_AFTER_NAME, SECOND_LINE = range(44), range(30, 52)
#: Of 122 customers, the one with each slip of the keyboard.
SPACE_BEFORE_PHONE, SPACE_AFTER_STREET, DOUBLE_SPACE = 60, 61, 62


class Person(NamedTuple):
    """An employee."""

    number: int
    first: str
    last: str
    office: str
    boss: int | None
    title: str


def email(person: Person) -> str:
    """Initial and family name, in plain letters."""
    return f"{plain(person.first[0] + person.last).lower()}@classic-cars.example"


def plain(text: str) -> str:
    """Only the ASCII letters that remain of ``text`` without its accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalpha())


def customer_row(
    number: int,
    place: words.Place,
    buys: bool,
    luck: int,
    draw: list[int],
    codes: int,
    representatives: list[int],
) -> tuple[Any, ...]:
    """A row of ``customers``; ``luck`` in 0..121 says which slips were made, ``codes`` how many codes a city has."""
    country = place.country.strip()
    culture = words.CULTURES[words.CULTURE_OF.get(country, "english")]
    last, first = _pick(culture.last, draw[0]), _pick(culture.first, draw[1])
    phone = digits(words.PHONES.get(country, words.PHONES[""]), draw[2])
    address = street(culture, country, draw[3], draw[4])
    if luck == DOUBLE_SPACE:
        address = address.replace(" ", "  ", 1)
    return (
        number,
        _pick(culture.firms, draw[5]).format(_pick(culture.last, draw[6])),
        last,
        first + (" " if luck in SPACE_AFTER_NAME else ""),
        (" " if luck == SPACE_BEFORE_PHONE else "") + phone,
        address + (" " if luck == SPACE_AFTER_STREET else ""),
        _pick(culture.second_lines, draw[7]) if luck in SECOND_LINE else None,
        place.city,
        place.state,
        postal_code(place.code, draw[8] % codes),
        place.country,
        representatives[draw[9] % len(representatives)] if representatives and (buys or place.looked_after) else None,
        (110 + draw[10] % 1300) * 10_000 if buys else 0,
    )


def street(culture: words.Culture, country: str, which: int, house: int) -> str:
    """A street and a house number, in the country's order."""
    name, number = _pick(culture.streets, which), 1 + house % (9800 if country == "USA" else 180)
    match words.CULTURE_OF.get(country, "english"):
        case "english":
            return f"{number} {name}"
        case "french":
            return f"{number}, {name}"
        case "japanese":
            return f"{number}{name}"
        case _:
            return f"{name} {number}"


def postal_code(code: str | None, variant: int) -> str | None:
    """A larger shop has customers in other districts of the same city: the last digits of its code change."""
    if code is None or variant == 0:
        return code
    found = list(re.finditer(r"\d+", code))[-1]
    run = found.group()[-2:]
    changed = (int(run) + variant) % 10 ** len(run)
    return f"{code[: found.end() - len(run)]}{changed:0{len(run)}d}{code[found.end() :]}"


def digits(template: str, draw: int) -> str:
    """``template`` with a digit for each ``#``."""
    numbers = iter(f"{draw % 10**9:09d}")
    return "".join(next(numbers) if letter == "#" else letter for letter in template)


def _pick(options: tuple[str, ...], draw: int) -> str:
    return options[draw % len(options)]
