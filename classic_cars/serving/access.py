"""Who may look at a page that this platform serves: where it may listen, and what a request has to carry.

On loopback whoever can reach it is on this machine already. Anywhere else an identity proxy, or a password, decides;
``docs/access.md`` shows how to put either in front of it.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import ipaddress
from base64 import b64decode
from collections.abc import Mapping

from classic_cars.errors import SettingsError
from classic_cars.settings import Settings


def may_listen(host: str, settings: Settings) -> None:
    """Raises ``SettingsError`` for an address that others could reach, unless something asks them who they are."""
    if is_loopback(host) or settings.proxy_header or settings.password.get_secret_value():
        return
    raise SettingsError(
        f"host {host or 'of all addresses'}: others could reach it, and nobody would ask who they are; listen on "
        "127.0.0.1, or set CLASSIC_CARS_PROXY_HEADER (behind an identity proxy) or CLASSIC_CARS_PASSWORD: "
        "docs/access.md"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it. A name other than ``localhost`` may be anybody's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def admitted(settings: Settings, headers: Mapping[str, str], password: str = "") -> bool:
    """Whether a request carries all that the settings ask for: the proxy's header, the password, or both.

    ``password``: what a form was given; otherwise that of basic authentication counts. When both are set, the password
    is what the proxy shows to prove that the header is its own. How long it takes says nothing of the password.
    """
    found = {name.lower(): value for name, value in headers.items()}
    secret = settings.password.get_secret_value()
    proven = not secret or _equal(password or _basic(found.get("authorization", "")), secret)
    named = not settings.proxy_header or bool(found.get(settings.proxy_header.lower(), "").strip())
    return proven and named


def _equal(given: str, secret: str) -> bool:
    """Digests are compared: they are as long as each other, whatever was given."""
    one, other = (hashlib.sha256(each.encode(errors="surrogatepass")).digest() for each in (given, secret))
    return hmac.compare_digest(one, other)


def _basic(header: str) -> str:
    """The password of basic authentication, whoever the user is; empty when there is none."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
