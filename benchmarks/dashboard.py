"""How long people wait for the dashboard, alone and ten at once, as a table for docs/performance.md.

    python -m benchmarks.dashboard HOME [HOME ...]

Each HOME is a ``CLASSIC_CARS_HOME`` with a release, such as those that ``python -m benchmarks`` leaves in
``bench/platform-3000``. Its dashboard is started, and seen by Chromium on the same machine, a context of its own per
person. Ten browsers cost more than the server, and people have their own: so what the server takes to send the page to
clients that draw nothing stands beside it, and its CPU seconds.

The first chart is waited for from the address to the drawn picture; a filter's answer from the key that chooses a
country to the headline that is of that country, which nobody had asked for before. Medians of ten.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

PEOPLE = 10
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START = "from classic_cars.cli.main import main; main()"
CHART = ".st-key-panel-lines :is(canvas, svg.marks)"
HEADLINE = '[data-measure="netSales"] .cc-value'
DONE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
#: Milliseconds for anything.
PATIENCE = 60_000


@dataclass
class Waited:
    """Seconds of each person, and what the server used meanwhile."""

    chart: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    cpu: float = 0.0


@dataclass
class Server:
    address: str
    process: subprocess.Popen[bytes]
    outside: list[str] = field(default_factory=list)
    #: Numbers persons, so that nobody asks for what another did.
    persons: Iterator[int] = field(default_factory=count)

    @property
    def cpu(self) -> float:
        used = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


@contextmanager
def served(home: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", START, "dashboard", "--port", str(port)],
        env={**os.environ, "CLASSIC_CARS_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(f"http://127.0.0.1:{port}/", process)
    try:
        while not _answers(server.address):
            if process.poll() is not None:
                raise SystemExit(f"{home}: the dashboard ended; is there a release?")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address + "_stcore/health", timeout=2) as found:
        return bool(found.status == 200)
    return False


async def _person(browser: Any, server: Server, countries: list[str], waited: Waited) -> None:
    """Open the first page, and choose a country of a period that nobody has looked at."""
    person = next(server.persons)
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: _note(server, request.url))
    started = time.perf_counter()
    await page.goto(server.address)
    await page.wait_for_selector(CHART)
    waited.chart.append(time.perf_counter() - started)

    await page.wait_for_selector(DONE)
    before = await page.get_attribute(HEADLINE, "data-exact")
    box = page.get_by_role("combobox", name="Country").first
    await box.click()
    await box.fill(countries[person % len(countries)])
    started = time.perf_counter()
    await page.keyboard.press("Enter")
    changed = f"() => document.querySelector('{HEADLINE}').dataset.exact !== '{before}'"
    await page.wait_for_function(changed)
    waited.answer.append(time.perf_counter() - started)
    await context.close()


async def _client(server: Server, waited: Waited) -> None:
    """Ask for the first page, and read all of it."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.asyncio.client import connect

    asked, told = BackMsg(), ForwardMsg()
    asked.rerun_script.query_string = ""
    started = time.perf_counter()
    address = server.address.replace("http", "ws", 1) + "_stcore/stream"
    async with connect(address, subprotocols=["streamlit"], max_size=None) as stream:  # type: ignore[list-item]
        await stream.send(asked.SerializeToString())
        while told.WhichOneof("type") != "script_finished":
            told.ParseFromString(await stream.recv())
    waited.sent.append(time.perf_counter() - started)


def _note(server: Server, url: str) -> None:
    if not url.startswith(("data:", "blob:", server.address, server.address.replace("http", "ws", 1))):
        server.outside.append(url)


async def _measured(server: Server, work: Callable[[Waited], Coroutine[Any, Any, Any]]) -> Waited:
    waited, used = Waited(), server.cpu
    await work(waited)
    waited.cpu = (server.cpu - used) / len(waited.chart)
    return waited


async def seen(server: Server, countries: list[str]) -> dict[str, Waited]:
    """What the first person waits, ten one after the other, and ten at once."""
    from playwright.async_api import async_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)

    async def one_by_one(waited: Waited) -> None:
        for _ in range(PEOPLE):
            await _person(browser, server, countries, waited)

    async def at_once(waited: Waited) -> None:
        await asyncio.gather(*(_person(browser, server, countries, waited) for _ in range(PEOPLE)))

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        found = {
            "the first person": await _measured(server, lambda waited: _person(browser, server, countries, waited)),
            "one person": await _measured(server, one_by_one),
            f"{PEOPLE} at once": await _measured(server, at_once),
        }
        await browser.close()
    for _ in range(PEOPLE):
        await _client(server, found["one person"])
    await asyncio.gather(*(_client(server, found[f"{PEOPLE} at once"]) for _ in range(PEOPLE)))
    return found


def facts(home: Path) -> tuple[int, list[str]]:
    """Order lines of the current release, and the countries that bought something in its last twelve months."""
    from classic_cars.serving.metrics import ask, expression
    from classic_cars.serving.releases import opened
    from classic_cars.settings import Settings

    with opened(Settings(home=home)) as found:
        if found is None:
            raise SystemExit(f"{home}: there is no release")
        release, tables = found
        asked = ask(["netSales"], by=["country"])
        rows = expression(asked, tables.read).to_pyarrow().to_pylist()
    return release.order_lines.published.rows, [row["country"] for row in rows if row["country"] and row["netSales"]]


def _shown(seconds: list[float]) -> str:
    """The median, and the slowest."""
    return f"{median(seconds):.2f} ({max(seconds):.2f})" if seconds else ""


def main() -> None:
    print("| dashboard | lines | first chart, s | filter's answer, s | sent, s | server's CPU, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for home in map(Path, sys.argv[1:]):
        lines, countries = facts(home)
        with served(home) as server:
            for who, waited in asyncio.run(seen(server, countries)).items():
                shown = [_shown(each) for each in (waited.chart, waited.answer, waited.sent)]
                print(f"| {who} | {lines:,} | {' | '.join(shown)} | {waited.cpu:.2f} |", flush=True)
            print(
                f"\n{server.megabytes:,.0f} MB at most in the server, {len(server.outside)} requests to outside,",
                end="",
            )
            print(f" load {', '.join(f'{each:.1f}' for each in os.getloadavg())} on {os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
