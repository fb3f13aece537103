"""What settings about web pages may hold: names of headers, passwords, keys, addresses, sites that may frame a page."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

#: Fewer characters than this can be guessed, or were typed by hand.
SHORTEST_PASSWORD, SHORTEST_KEY = 12, 32
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?::\d{1,5})?"
_SITE = re.compile(rf"https?://(?:\*\.)?{_HOST}")
_ADDRESS = re.compile(rf"https?://{_HOST}(?:/[A-Za-z0-9._~-]+)*")


def _header(name: str) -> str:
    if name and not _HEADER.fullmatch(name):
        raise ValueError("expected the name of a header, such as X-Forwarded-Email")
    return name


def _password(password: SecretStr) -> SecretStr:
    if password and len(password.get_secret_value()) < SHORTEST_PASSWORD:
        raise ValueError(f"expected at least {SHORTEST_PASSWORD} characters")
    return password


def _keys(keys: SecretStr) -> SecretStr:
    if any(len(each) < SHORTEST_KEY for each in keys.get_secret_value().split()):
        raise ValueError(f"expected keys of at least {SHORTEST_KEY} random characters, separated by spaces")
    return keys


def _address(url: str) -> str:
    url = url.rstrip("/")
    if not _ADDRESS.fullmatch(url):
        raise ValueError("expected an address such as https://reports.example.com")
    return url


def _sites(text: str) -> str:
    """As ``frame-ancestors`` has them. One that is wrong would let a header say something else altogether."""
    found = text.split()
    alone = found in (["'none'"], ["'self'"])
    if not found or not (alone or all(each == "'self'" or _SITE.fullmatch(each) for each in found)):
        raise ValueError("expected 'none', or 'self' and sites such as https://shop.example.com, separated by spaces")
    return " ".join(found)


HeaderName = Annotated[str, AfterValidator(_header)]
Password = Annotated[SecretStr, AfterValidator(_password)]
Keys = Annotated[SecretStr, AfterValidator(_keys)]
Address = Annotated[str, AfterValidator(_address)]
Sites = Annotated[str, AfterValidator(_sites)]
