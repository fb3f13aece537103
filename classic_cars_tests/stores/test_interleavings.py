"""Two writers and maintenance on one lake, in random interleavings, against a model: nothing lost, nothing twice.

Each writer opens a transaction, perhaps much earlier than it publishes. The model knows the rows of each month and, for
each change, what was published since its base; it says whether a publish must succeed, and what readers then see.
``CLASSIC_CARS_INTERLEAVINGS=1000`` runs a thousand of them; the normal run does a few.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreConflict
from classic_cars.months import Months
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Staged
from classic_cars.stores.iceberg import IcebergStore
from classic_cars.stores.iceberg.files import month_of
from classic_cars_tests.stores.tables import BY_TEST, SALES, arrow, publish, sale

INTERLEAVINGS = int(os.environ.get("CLASSIC_CARS_INTERLEAVINGS", "15"))
MONTHS = ["2004-01", "2004-02"]
ALL = frozenset(MONTHS)
LATER, AT_ONCE = timedelta(hours=1), timedelta(0)

APPEND, REPLACE, REPLACE_ALL, REWRITE = "append", "replace", "replace all", "rewrite"


@dataclass(frozen=True)
class Begin:
    """A writer opens a transaction and stages: rows added to a month, a month, or all rows again."""

    writer: int
    kind: str
    month: str
    rows: int


@dataclass(frozen=True)
class End:
    """A writer publishes what it staged, or leaves."""

    writer: int
    publishes: bool


@dataclass(frozen=True)
class Maintain:
    """Small files are put together and replaced versions forgotten, at once."""


@dataclass(frozen=True)
class Read:
    """A writer reads again what it saw when its transaction began."""

    writer: int


writers = st.integers(0, 1)
begins = st.builds(
    Begin, writers, st.sampled_from([APPEND, REPLACE, REPLACE_ALL, REWRITE]), st.sampled_from(MONTHS), st.integers(0, 2)
)
ends = st.builds(End, writers, st.sampled_from([True, True, True, False]))
moves = st.lists(
    st.one_of(begins, begins, ends, ends, st.just(Maintain()), st.builds(Read, writers)),
    min_size=3,
    max_size=9,
)


@dataclass
class Work:
    """What one writer has staged, and all that the model must know of it."""

    kind: str
    months: frozenset[str]
    rows: dict[str, set[int]]
    staged: Staged
    seen: dict[str, set[int]]
    #: Others' changes published since; None when maintenance forgot what came in between.
    since: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    forgotten: bool = False

    def may_publish(self) -> bool:
        """A rewrite gives way only to those who replaced the rows that it read."""
        if self.kind == REWRITE:
            return not any(kind != APPEND and months & self.months for kind, months in self.since)
        changes = [(kind, months) for kind, months in self.since if kind != REWRITE]
        if self.kind == APPEND and any(kind == APPEND for kind, _ in changes):
            return False
        return not any(months & self.months for _, months in changes)


class Model:
    """The lake, two writers of it, and what it must hold."""

    def __init__(self, stores: list[IcebergStore], of: Contract) -> None:
        self.stores, self.of = stores, of
        self.rows: dict[str, set[int]] = {month: set() for month in MONTHS}
        self.open: dict[int, Work] = {}
        self.numbers = itertools.count(1)
        publish(stores[0], of, [])

    def do(self, move: Begin | End | Maintain | Read) -> None:
        match move:
            case Begin():
                self.begin(move)
            case End(writer, publishes) if writer in self.open:
                self.end(writer, self.open.pop(writer), publishes)
            case Read(writer) if writer in self.open:
                work = self.open[writer]
                if work.staged.others is not None:
                    assert self.numbers_in(work.staged.others) == self.others_of(work)
            case Maintain():
                self.maintain(LATER)

    def begin(self, move: Begin) -> None:
        self.open.pop(move.writer, None)
        tx = self.stores[move.writer].begin(BY_TEST)
        seen = {month: set(rows) for month, rows in self.rows.items()}
        assert self.numbers_in(tx.read(self.of)) == set().union(*seen.values())
        if move.kind == REWRITE:
            if not seen[move.month]:
                return
            staged = tx.rewrite(self.of, Months.parse(move.month).first)
            rows, months = {move.month: seen[move.month]}, frozenset({move.month})
        else:
            of_months = MONTHS if move.kind == REPLACE_ALL else [move.month]
            rows = {month: {next(self.numbers) for _ in range(move.rows)} for month in of_months}
            arriving = [sale(number, f"{month}-15") for month, numbers in rows.items() for number in numbers]
            asked = Months.parse(move.month) if move.kind == REPLACE else None
            staged = tx.stage(self.of, tx.receive(arrow(self.of, arriving)), asked, append=move.kind == APPEND)
            months = (
                ALL
                if move.kind == REPLACE_ALL
                else frozenset(rows)
                if arriving or move.kind == REPLACE
                else frozenset()
            )
        self.open[move.writer] = Work(move.kind, months, rows, staged, seen)

    def others_of(self, work: Work) -> set[int]:
        replaced = work.months if work.kind == REPLACE else frozenset()
        return {number for month, numbers in work.seen.items() if month not in replaced for number in numbers}

    def end(self, writer: int, work: Work, publishes: bool) -> None:
        if publishes:
            try:
                work.staged.publish()
            except StoreConflict:
                # Where versions in between are forgotten, nobody knows what they were: refusing is right.
                assert work.forgotten or not work.may_publish()
            else:
                assert work.may_publish()
                self.published(work)
        self.stores[writer].release()

    def published(self, work: Work) -> None:
        for month in work.months:
            if work.kind == APPEND:
                self.rows[month] |= work.rows[month]
            elif work.kind != REWRITE:
                self.rows[month] = set(work.rows.get(month, ()))
        for each in self.open.values():
            each.since.append((work.kind, work.months))

    def maintain(self, orphan_age: timedelta) -> None:
        """By a third process, as it were: maintenance has transactions of its own."""
        files = self.files()
        list(self.stores[2].maintain([self.of], keep=AT_ONCE, orphan_age=orphan_age, dry_run=False))
        now = self.files()
        rewritten = frozenset(month for month in MONTHS if now.get(month) != files.get(month))
        for work in self.open.values():
            work.forgotten = True
            if work.kind == REWRITE and rewritten & work.months:
                work.since.append((REPLACE, rewritten))  # for a rewrite, whoever rewrote its files replaced them

    def files(self) -> dict[str, set[str]]:
        """The files of each month."""
        store, found = self.stores[2], {}
        store.release()
        for each in store.reading.files(self.of):
            found.setdefault(f"{month_of(each):%Y-%m}", set()).add(each.file_path)
        return found

    def numbers_in(self, rows) -> set[int]:
        found = rows.sale.to_pyarrow().to_pylist()
        assert len(found) == len(set(found)), "a row is there twice"
        return set(found)

    def compare(self) -> None:
        """What a reader sees is what the model has, in every month."""
        reader = self.stores[2]
        reader.release()
        found = reader.read(self.of).select("sale", "day").to_pyarrow().to_pylist()
        expected = [(number, month) for month, numbers in self.rows.items() for number in numbers]
        assert sorted((row["sale"], f"{row['day']:%Y-%m}") for row in found) == sorted(expected)

    def close(self) -> None:
        for store in self.stores:
            store.release()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[IcebergStore]]:
    """Three processes' stores over one lake with one table, which each interleaving finds empty."""
    home: Path = tmp_path_factory.mktemp("lake")
    stores = [open_store(Settings(home=home / "home", store="iceberg", store_wait=30)) for _ in range(3)]
    yield [store for store in stores if isinstance(store, IcebergStore)]
    for store in stores:
        store.end_run()


@settings(
    max_examples=INTERLEAVINGS,
    deadline=None,
    database=None,
    derandomize=INTERLEAVINGS < 100,
    suppress_health_check=list(HealthCheck),
)
@given(moves=moves)
def test_nothing_is_lost_or_there_twice_whoever_comes_when(lake: list[IcebergStore], moves: list):
    model = Model(lake, SALES)
    try:
        for move in moves:
            model.do(move)
            if isinstance(move, End | Maintain):
                model.compare()
        for writer in list(model.open):
            model.do(End(writer, True))
        model.compare()
        model.maintain(AT_ONCE)
        model.compare()
    finally:
        model.close()
