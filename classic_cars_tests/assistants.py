"""What assistants are told, as tests ask: a published shop, its personal data, and a client of the protocol's SDK."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from classic_cars.serving.releases import current
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_tests.platform import order_system_frames

SECRET = "hunter2-of-the-order-system"
#: What nobody is told, written down apart from the contracts.
PERSONAL_COLUMNS = {
    "customers": ["customerName", "contactLastName", "contactFirstName", "phone", "addressLine1", "addressLine2"],
    "employees": ["lastName", "firstName", "extension", "email"],
    "orders": ["comments"],
}


@dataclass(frozen=True)
class Said:
    failed: bool
    text: str
    told: dict[str, Any]


@pytest.fixture(scope="session")
def asked_shop(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A published shop, whose order system may only be reached with a password."""
    home = tmp_path_factory.mktemp("assistants") / "home"
    shutil.copytree(published_home, home)
    return Settings(home=home, source_url=f"postgresql://reader:{SECRET}@127.0.0.1/shop")


@pytest.fixture(scope="session")
def order_frames(published_home: Path) -> dict[str, pd.DataFrame]:
    return order_system_frames(Settings(home=published_home).order_system_url)


@pytest.fixture(scope="session")
def personal(order_frames: dict[str, pd.DataFrame]) -> set[str]:
    """The personal texts of the order system that stand nowhere else."""
    found, others = set(), set()
    for table, frame in order_frames.items():
        for column in frame.columns:
            texts = {str(each).strip() for each in frame[column].dropna()}
            (found if column in PERSONAL_COLUMNS.get(table, ()) else others).update(texts)
    return {each for each in found - others if len(each) > 7}


async def said(client: Any, tool: str, **arguments: Any) -> Said:
    result = await client.call_tool(tool, arguments)
    texts = " ".join(getattr(each, "text", "") for each in result.content)
    return Said(bool(result.is_error), texts, dict(result.structured_content or {}))


def asked(where: Any, *calls: tuple[str, Mapping[str, Any]]) -> list[Said]:
    """What a server says to these calls, which come all at once."""

    from mcp import Client  # a second, of tests that need it

    async def all_of_them() -> list[Said]:
        async with Client(where) as client:
            waiting: list[Coroutine[Any, Any, Said]] = [said(client, tool, **given) for tool, given in calls]
            return list(await asyncio.gather(*waiting))

    return asyncio.run(all_of_them())


def proves(answer: Said, settings: Settings) -> bool:
    """Whether the answer says its release, and that release's rows and cents."""
    release = current(open_store(settings, read_only=True).shelf)
    assert release is not None
    told = answer.told
    return (
        told["release"] == release.number
        and "minute" in told["age"] + "minute" * ("second" in told["age"])
        and f"{release.order_lines.published.amount:,.2f}" in told["proof"][0]
    )


def tells_nothing(answer: Said, settings: Settings, personal: set[str]) -> bool:
    everything = answer.text + json.dumps(answer.told, ensure_ascii=False)
    places = (str(settings.home), str(Path.home()) + "/", str(Path.cwd()), "site-packages", SECRET, "root:x:")
    return not [each for each in (*personal, *places) if each in everything]
