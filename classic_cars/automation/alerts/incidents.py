"""What an incident is, and what its messages say. Pure: from what is observed now and what was open before.

One message when an incident begins, one when it is over, none while it lasts, however often it is tried again; but one
more when a warning becomes an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from classic_cars.wording import lasting

#: Kinds of incident, and the section of the runbook that says what to do.
RUNBOOK = {
    "run": "a-run-failed",
    "check": "a-check-failed",
    "stale": "a-table-is-stale",
    "sensor": "a-sensor-or-schedule-keeps-failing",
    "source": "the-order-system-or-the-landing-zone-cannot-be-read",
}

#: How bad it is, in the words of webhooks and chats, by the severity of an incident.
LEVELS = {"ERROR": "failure", "WARN": "warning"}
OVER, REPORT = "success", "info"


@dataclass(frozen=True)
class Incident:
    """Something that somebody should look at. Holds names and numbers, never a row's values."""

    #: The same while the incident lasts, and of no other incident.
    key: str
    kind: str
    #: What is wrong, in a few words.
    what: str
    #: Seconds since 1970.
    since: float
    severity: str = "ERROR"
    owners: tuple[str, ...] = ()
    run_id: str = ""
    #: Counts, by name.
    numbers: Mapping[str, float] = field(default_factory=dict)
    details: str = ""

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, found: dict[str, Any]) -> Incident:
        return cls(**{**found, "owners": tuple(found["owners"])})


@dataclass(frozen=True)
class Observation:
    """What is wrong now; ``unknown``: keys of which nothing can be said, as they are being tried again."""

    incidents: Sequence[Incident]
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Message:
    """What people are sent."""

    title: str
    body: str
    #: ``failure``, ``warning``, ``success`` or ``info``.
    level: str
    #: Path of a file to send along, where that can be done, as with mails; empty for none.
    attachment: str = ""


@dataclass(frozen=True)
class Links:
    """Where messages point to: Dagster's web page and the runbook; and the environment that they come from."""

    web: str
    runbook: str
    environment: str


def news(
    was_open: Mapping[str, Incident], now: Observation, moment: float, links: Links
) -> tuple[dict[str, Incident], list[Message]]:
    """The incidents that are open now, and a message for each that began, or became worse, or is over."""
    found = {each.key: _going_on(was_open.get(each.key), each) for each in now.incidents}
    tried_again = {key: each for key, each in was_open.items() if key in now.unknown}
    still = {**tried_again, **found}
    began = [each for key, each in found.items() if key not in was_open or is_worse(each, was_open[key])]
    over = [each for key, each in was_open.items() if key not in still]
    messages = [begun(each, moment, links) for each in began] + [ended(each, moment, links) for each in over]
    return still, messages


def _going_on(before: Incident | None, now: Incident) -> Incident:
    """The same incident, as bad as it ever was: what warned of one month may be refused of another."""
    if before is None:
        return now
    return replace(now, since=before.since, severity="ERROR" if before.severity == "ERROR" else now.severity)


def is_worse(now: Incident, before: Incident) -> bool:
    """Whether a table that only warned is refused by now."""
    return (before.severity, now.severity) == ("WARN", "ERROR")


def subject(environment: str, text: str) -> str:
    return f"[Classic Cars {environment}] {text}"


def begun(incident: Incident, moment: float, links: Links) -> Message:
    """An incident, as the person reads it who should look."""
    lines = [incident.what]
    if incident.details:
        lines.append(incident.details)
    lines += [f"{name}: {value:,}" for name, value in incident.numbers.items()]
    lines.append(f"Since: {_clock(incident.since)} ({lasting(timedelta(seconds=moment - incident.since))})")
    return Message(
        subject(links.environment, f"{incident.severity}: {incident.what}"),
        "\n".join([*lines, *_where(incident, links)]),
        LEVELS[incident.severity],
    )


def ended(incident: Incident, moment: float, links: Links) -> Message:
    """The same incident, over."""
    lasted = lasting(timedelta(seconds=moment - incident.since))
    lines = [
        f"Resolved, nothing is left to do: {incident.what}",
        f"Lasted from {_clock(incident.since)} to {_clock(moment)} ({lasted})",
    ]
    return Message(
        subject(links.environment, f"RESOLVED after {lasted}: {incident.what}"),
        "\n".join([*lines, *_where(incident, links)]),
        OVER,
    )


def _where(incident: Incident, links: Links) -> list[str]:
    lines = [f"Owner: {', '.join(incident.owners)}"] if incident.owners else []
    if incident.run_id:
        lines.append(f"Run: {links.web.rstrip('/')}/runs/{incident.run_id}")
        lines.append(f"Timeline: classic-cars incident {incident.run_id}")
    return [*lines, f"What to do: {links.runbook}#{RUNBOOK[incident.kind]}"]


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
