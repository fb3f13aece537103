"""A person on call: every planted fault on a real ``classic-cars dev``, from the fault to the message that it is over.

One platform, one fault after the other. The first message has to be enough to act on: table, column,
reason and rows. The seconds are printed (``pytest -s``). What the messages say is also tested without a daemon, always:
``classic_cars_tests/assets/test_automation_failures.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from classic_cars.settings import Settings
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import ask
from classic_cars_tests.receivers import Webhook, webhook
from classic_cars_tests.serving import dev, wait_for

#: Seconds from a fault, or from its end, until it is notified: what a machine of its own takes. One that others use,
#: too, takes longer; what is not there after three times as long, waits for something else than a processor.
AIM = 60.0
LINES = "SELECT count(*) FROM warehouse.fact_orders"
ANSWERS = "SELECT sum(bookedAmount) FROM analytics.sales_by_country"
#: What of each fault the first message says: in its title, and in its text.
FAULTS = {
    "drift": (
        "ERROR: source/orders: schema changed",
        ("table orders has no column status", "new there: orderStatus"),
    ),
    "duplicates": (
        "ERROR: staging/payments: check quarantine failed",
        ("5 of 49 rows quarantined", "5 rows: an exact copy of another row"),
    ),
    "orphans": (
        "ERROR: staging/orderdetails: check quarantine failed",
        ("72 of 553 in the table", "72 rows: orderNumber is not in staging/orders"),
    ),
    "negatives": (
        "ERROR: staging/orderdetails: check quarantine failed",
        ("72 of 481 rows quarantined", "72 rows: quantityOrdered is not between 1 and 100,000"),
    ),
    "outage": ("ERROR: order system: not there", ("shop.sqlite: no such file",)),
}


def timed(what: str, found: Callable[[], Any]) -> Any:
    """The answer; says how long it took."""
    started = time.monotonic()
    answer = wait_for(what, found)
    seconds = time.monotonic() - started
    print(f"{what}: {seconds:.0f} s{'' if seconds <= AIM else ', more than the aim'}")
    assert seconds <= 3 * AIM, f"{what} after {seconds:.0f} s"
    return answer


def message(hook: Webhook, seen: int, what: str, *, over: bool = False) -> dict[str, Any] | None:
    """The first message about it, of those after the first ``seen``, that it began or is over."""
    about = (each for each in hook.posted[seen:] if each["title"].endswith(what))
    return next((each for each in about if ("RESOLVED" in each["title"]) == over), None)


@pytest.mark.exhaustive
def test_every_planted_fault_is_notified_within_a_minute_and_so_is_its_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = Settings(home=home, source_url=SecretStr(f"sqlite:///{home / 'shop.sqlite'}"))
    assert classic_cars(home, "shop", "create", "--until", "2003-08-31").returncode == 0
    with webhook() as hook, dev(home, CLASSIC_CARS_ALERT_URLS=hook.url):
        wait_for("the first tables", lambda: ask(settings, ANSWERS))
        for kind, (title, said) in FAULTS.items():
            notified_and_over(home, hook, kind, title, said)
        late_and_taken_back(home, hook, settings)


def notified_and_over(home: Path, hook: Webhook, kind: str, title: str, said: tuple[str, ...]) -> None:
    seen = len(hook.posted)
    assert classic_cars(home, "shop", "break", kind).returncode == 0
    first = timed(f"{kind} noticed", lambda: message(hook, seen, title))
    assert first["type"] == "failure"
    for each in said:
        assert each in first["message"]
    assert classic_cars(home, "shop", "mend", kind).returncode == 0
    over = timed(f"{kind} over", lambda: message(hook, seen, title.removeprefix("ERROR: "), over=True))
    assert over["type"] == "success"


def late_and_taken_back(home: Path, hook: Webhook, settings: Settings) -> None:
    """Late orders are no fault, and are read; that they are gone again is one, until somebody accepts it."""
    ((before,),) = ask(settings, LINES)
    seen = len(hook.posted)
    assert classic_cars(home, "shop", "break", "late").returncode == 0
    timed("late published", lambda: ask(settings, LINES)[0][0] > before)
    assert not [each for each in hook.posted[seen:] if "ERROR" in each["title"]]
    assert classic_cars(home, "shop", "mend", "late").returncode == 0
    gone = "source/orderdetails: check volume failed"
    first = timed("orders gone noticed", lambda: message(hook, seen, f"ERROR: {gone}"))
    assert "2003-05: 154 rows before, 77 now" in first["message"]
    ran = classic_cars(home, "run", "--accept-shrink", "orders", "--accept-shrink", "orderdetails")
    assert ran.returncode == 0, ran.stdout
    assert timed("orders gone over", lambda: message(hook, seen, gone, over=True))
    assert ask(settings, LINES) == [(before,)]
