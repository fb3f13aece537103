"""Messages on their way to people: an outbox for each address, tried again until each got each message once.

The addresses are URLs of the Apprise library: mailto://, slack://, sns://, json:// and a hundred more. They hold
passwords: neither they nor what a server answered appears in any log, message or cursor.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

from classic_cars.automation.alerts.incidents import Message

log = logging.getLogger("classic_cars.alerts")

#: Seconds until a message is tried again; the last one stays.
RETRY_SECONDS = (30.0, 60.0, 300.0, 900.0)
#: A message that nobody took for so long is given up.
GIVE_UP_SECONDS = 86_400.0
#: An attempt that takes longer counts as not accepted: a server that answers a byte a second keeps a library busy for a
#: minute, and Dagster ends a tick after one, which forgets what was delivered.
ATTEMPT_SECONDS = 15.0
#: No more is begun in a tick after so many seconds.
TICK_SECONDS = 25.0

HTML = "html"
_LINK = re.compile(r"https?://[^\s<>]+[^\s<>.,;:)]")

#: Sends a message to one address; false when it was not accepted.
Send = Callable[[str, Message], bool]


@dataclass(frozen=True)
class Notification:
    """A message to one address, which is known by its fingerprint."""

    address: str
    title: str
    body: str
    written: float
    attempts: int = 0
    not_before: float = 0.0
    level: str = "info"
    attachment: str = ""

    @property
    def message(self) -> Message:
        return Message(self.title, self.body, self.level, self.attachment)

    def dump(self) -> dict[str, Any]:
        return asdict(self)


def addresses(urls: str) -> dict[str, str]:
    """The URLs of the setting by fingerprint; they are separated by white space, or by commas before a URL."""
    found = [each for each in re.split(r"\s+|,\s*(?=[a-z0-9]+://)", urls.strip()) if each]
    return {hashlib.sha256(url.encode()).hexdigest()[:12]: url for url in found}


def notifications(messages: Sequence[Message], urls: str, moment: float) -> list[Notification]:
    """One notification for each message and address."""
    return [
        Notification(address, each.title, each.body, moment, level=each.level, attachment=each.attachment)
        for each in messages
        for address in addresses(urls)
    ]


def deliver(outbox: Sequence[Notification], urls: str, moment: float, send: Send) -> tuple[list[Notification], int]:
    """Try every notification that is due: those that stay in the outbox, and how many were delivered. Never raises."""
    known = addresses(urls)
    left, delivered = [], 0
    end = time.monotonic() + TICK_SECONDS
    for notification in outbox:
        url = known.get(notification.address)
        if url is None:
            continue  # its address was taken out of the settings
        # One that is not due for longer than any waits was noted before the clock was put back.
        if 0 < notification.not_before - moment <= RETRY_SECONDS[-1] or time.monotonic() > end:
            left.append(notification)
        elif accepts(url, notification.message, send):
            delivered += 1
        else:
            left += _postponed(notification, url, moment)
    return left, delivered


def _postponed(notification: Notification, url: str, moment: float) -> list[Notification]:
    if moment - notification.written > GIVE_UP_SECONDS:
        log.error("alert to %s given up after a day: %s", scheme(url), notification.title)
        return []
    wait = RETRY_SECONDS[min(notification.attempts, len(RETRY_SECONDS) - 1)]
    log.warning("alert to %s was not accepted; next attempt in %.0f s: %s", scheme(url), wait, notification.title)
    return [replace(notification, attempts=notification.attempts + 1, not_before=moment + wait)]


def numbered(urls: str) -> dict[str, str]:
    """The URLs by what may be shown of them, told apart."""
    found = list(addresses(urls).values())
    return {f"{scheme(url)} ({index} of {len(found)})": url for index, url in enumerate(found, 1)}


def scheme(url: str) -> str:
    """All of an address that may be shown."""
    return f"{url.partition('://')[0]}://..." if "://" in url else "an address without a scheme"


def unreadable(urls: str) -> list[str]:
    """Schemes of the addresses that Apprise does not understand."""
    return [scheme(url) for url in addresses(urls).values() if _apprise(url) is None]


def send_with_apprise(url: str, message: Message) -> bool:
    """Send one message to one address, as HTML where that is shown, as in mails."""
    found = _apprise(url)
    if found is None:
        return False
    along = {"attach": message.attachment} if message.attachment else {}
    if found[0].resolve_format() == HTML:
        return bool(found.notify(html(message.body), message.title, message.level, body_format=HTML, **along))
    return bool(found.notify(message.body, message.title, message.level, **along))


def accepts(url: str, message: Message, send: Send = send_with_apprise) -> bool:
    """Send it; false also for whatever a library raises, or when it takes too long: alerts break nothing."""
    accepted: list[bool] = []

    def attempt() -> None:
        try:
            accepted.append(send(url, message))
        except Exception as error:
            log.warning("alert to %s: %s", scheme(url), type(error).__name__)
            accepted.append(False)

    thread = threading.Thread(target=attempt, daemon=True, name="alert")
    thread.start()
    thread.join(ATTEMPT_SECONDS)
    if not accepted:
        log.warning("alert to %s: no answer after %.0f s", scheme(url), ATTEMPT_SECONDS)
    return accepted == [True]


def html(text: str) -> str:
    """The same lines, with links."""
    return "<br/>\n".join(_LINK.sub(r'<a href="\g<0>">\g<0></a>', escape(line)) for line in text.splitlines())


def _apprise(url: str) -> Any:
    import apprise  # here, as it takes a moment to load and is seldom needed

    # Its own log lines quote addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    found = apprise.Apprise()
    return found if found.add(url) else None
