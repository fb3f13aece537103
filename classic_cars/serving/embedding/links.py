"""Links that show one customer until some moment: signed with HMAC-SHA256 by the library ItsDangerous."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from enum import Enum

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from classic_cars.errors import SettingsError
from classic_cars.settings import Settings

PATH = "/embed/"
#: Another purpose, or another form of the payload, has another salt: what was signed for it is no link.
SALT = "classic_cars.embed.1"
LONGEST = timedelta(days=90)
#: Of customers' numbers, as their column holds them.
LARGEST = 2**31 - 1
#: A payload, and 32 bytes of signature; an HTTP request could bring megabytes.
_FORM = re.compile(r"[A-Za-z0-9_-]{1,120}\.([A-Za-z0-9_-]{43})", re.ASCII)


class Reason(Enum):
    """Why a request is refused: what a log may say of it."""

    FORGED = "not signed by this platform"
    EXPIRED = "expired"
    UNKNOWN = "of a customer who is not in the release"
    ELSEWHERE = "no such page"


class Refused(Exception):
    """A request that shows nothing. Its text holds nothing of the request."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def link(settings: Settings, customer: int, lifetime: timedelta, now: datetime | None = None) -> str:
    """The address of the customer's page, until ``lifetime`` is over. Raises ``SettingsError`` without a key."""
    is_number = isinstance(customer, int) and not isinstance(customer, bool)
    if not is_number or not 1 <= customer <= LARGEST or not timedelta() < lifetime <= LONGEST:
        raise ValueError(f"expected a customer's number from 1 to {LARGEST}, and a lifetime of at most 90 days")
    until = int(((now or datetime.now(UTC)) + lifetime).timestamp())
    token = _serializer(settings).dumps({"customer": customer, "until": until})
    return f"{settings.embed_url}{PATH}{token if isinstance(token, str) else token.decode()}"


def customer_of(settings: Settings, token: str, now: datetime | None = None) -> int:
    """The number of the customer whom a link shows. Raises ``Refused``; ``SettingsError`` without a key."""
    form = _FORM.fullmatch(token)
    # Base64 has several spellings of one signature: only the one that was handed out is a link.
    if form is None or base64_encode(base64_decode(form[1])) != form[1].encode():
        raise Refused(Reason.FORGED)
    try:
        found = _serializer(settings).loads(token)
    except BadData:
        raise Refused(Reason.FORGED) from None
    match found:
        case {"customer": int(customer), "until": int(until)} if 1 <= customer <= LARGEST:
            if (now or datetime.now(UTC)).timestamp() >= until:
                raise Refused(Reason.EXPIRED)
            return customer
    raise Refused(Reason.FORGED)


def must_have_keys(settings: Settings) -> list[str]:
    """The keys, the newest first. Raises ``SettingsError`` when there is none."""
    keys = settings.embed_key.get_secret_value().split()
    if not keys:
        raise SettingsError(
            "CLASSIC_CARS_EMBED_KEY is not set: it signs the links, such as what "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` prints; docs/access.md"
        )
    return keys


def _serializer(settings: Settings) -> URLSafeSerializer:
    """Signs with the first of the keys, and knows them all."""
    signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(must_have_keys(settings)[::-1], salt=SALT, signer_kwargs=signer)  # it signs with the last
