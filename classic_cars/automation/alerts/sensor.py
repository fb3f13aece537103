"""The sensor that notifies people: reads Dagster's history, finds what began and what is over, sends it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg

from classic_cars.automation.alerts.deliver import (
    Notification,
    Send,
    addresses,
    deliver,
    notifications,
    send_with_apprise,
)
from classic_cars.automation.alerts.incidents import Incident, Links, Message, Observation, begun, news, subject
from classic_cars.automation.alerts.observe import observe, unfinished
from classic_cars.settings import Settings
from classic_cars.wording import counted

SENSOR = "alerts"
#: Less than ten seconds, so that every second of Dagster's rounds of five counts.
TICK_SECONDS = 9
VERSION = 1


@dataclass(frozen=True)
class AlertState:
    """The sensor's cursor: what is open, and what is still to be delivered."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    outbox: tuple[Notification, ...] = ()
    #: Fingerprints of the addresses that know what is open; None before anything is known of them.
    told: frozenset[str] | None = None

    def dump(self) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "open": [each.dump() for each in self.incidents.values()],
                "outbox": [each.dump() for each in self.outbox],
                "told": None if self.told is None else sorted(self.told),
            }
        )

    @classmethod
    def load(cls, cursor: str | None) -> AlertState:
        try:
            found = json.loads(cursor or "")
            incidents = [Incident.load(each) for each in found["open"]]
            told = found.get("told")
            return cls(
                {each.key: each for each in incidents},
                tuple(Notification(**each) for each in found["outbox"]),
                None if told is None else frozenset(told),
            )
        except (ValueError, TypeError, KeyError):
            return cls()


def tick(
    state: AlertState, now: Observation, settings: Settings, moment: float, send: Send = send_with_apprise
) -> tuple[AlertState, str]:
    """One tick: the new state, and in words what was done."""
    urls = settings.alert_urls.get_secret_value()
    links = Links(settings.web_url, settings.runbook_url, settings.environment)
    incidents, messages = news(state.incidents, now, moment, links)
    told = frozenset(addresses(urls))
    # An address that is new, or was mended, is told what began before it was there.
    new = " ".join(
        url for name, url in addresses(urls).items() if name not in (told if state.told is None else state.told)
    )
    earlier = [begun(each, moment, links) for key, each in incidents.items() if key in state.incidents]
    waiting = [*state.outbox, *notifications(earlier, new, moment), *notifications(messages, urls, moment)]
    left, delivered = deliver(waiting, urls, moment, send)
    said = f"{counted(len(incidents), 'incident')} open"
    if not urls:
        return AlertState(incidents, told=told), f"{said}; CLASSIC_CARS_ALERT_URLS is not set: nobody is notified"
    return replace(state, incidents=incidents, outbox=tuple(left), told=told), (
        f"{said}, {counted(delivered, 'message')} delivered, {len(left)} to be tried again"
    )


def alerts_sensor(settings: Settings, jobs: Sequence[str], status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Notifies of what began and what is over; ``jobs`` are those without tables. Asks for no runs, and fails none."""

    known: dict[str, Any] = {}

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=status,
        description="Notifies people of failed runs and checks, stale tables and failing sensors, once each.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        repository: Any = context.repository_def
        moment = time.time()
        now = observe(
            context.instance,
            [spec for each in repository.assets_defs_by_key.values() for spec in each.specs],
            repository.asset_graph.asset_check_keys,
            jobs,
            moment,
        )
        before = AlertState.load(context.cursor)
        ending = before.incidents.keys() - {each.key for each in now.incidents} - now.unknown
        latest = context.instance.event_log_storage.get_maximum_record_id()
        if known.get(SENSOR) != (latest, ending):  # of the same history, it is the same
            known.update(
                {SENSOR: (latest, ending), "going on": unfinished(context.instance, repository.asset_graph, ending)}
            )
        going_on = known["going on"]
        state, said = tick(before, replace(now, unknown=now.unknown | going_on), settings, moment)
        return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=state.dump())

    return alerts


def sender(settings: Settings) -> Callable[[str, str, str, Path | None], None]:
    """Sends a title, a text, its level and a file at once, for reports; what is not accepted is logged and dropped.

    An address that does not take the file gets the message without it.
    """

    def send(title: str, text: str, level: str, attachment: Path | None) -> None:
        urls, moment = settings.alert_urls.get_secret_value(), time.time()
        file = str(attachment) if attachment is not None and attachment.is_file() else ""
        message = Message(subject(settings.environment, title), text, level, file)
        left, _ = deliver(notifications([message], urls, moment), urls, moment, send_with_apprise)
        if file:
            deliver([replace(each, attachment="", not_before=moment) for each in left], urls, moment, send_with_apprise)

    return send
