"""The ledger of landed files: each content once, and right again after a run that died half-way."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from classic_cars.sources.landing import LandedFile
from classic_cars.sources.landing.copies import Copy
from classic_cars.tables.ledger import Entry, classify, latest, still_true

DAY = datetime(2003, 8, 1)


def file(name: str) -> LandedFile:
    return LandedFile(name, 1, "1", DAY, name)


def copy(name: str, content: str | None, reason: str | None = None) -> Copy:
    return Copy(file(name), "jsonl", content, reason, None if reason else Path(name))


def entry(name: str, content: str | None, state: str, rows: int = 0, logged: datetime = DAY) -> Entry:
    return Entry(name, 1, "1", content, "jsonl", DAY, rows, state, None, logged)


def states(copies: list[Copy], rows: list[int], known: list[Entry], loaded: dict[str, int]) -> tuple[dict, list[str]]:
    entries, to_load = classify(copies, rows, known, loaded, DAY)
    return {each.fileName: (each.state, each.rows) for each in entries}, [each.file.name for each in to_load]


def test_each_content_is_taken_once_whatever_it_is_called():
    copies = [copy("a", "1"), copy("b", "1"), copy("c", "2")]
    assert states(copies, [5, 5, 7], [entry("old", "2", "loaded", 7)], {"2": 7}) == (
        {"a": ("loaded", 5), "b": ("repeated", 0), "c": ("repeated", 0)},
        ["a"],
    )


def test_rows_that_are_there_without_an_entry_are_written_down_and_not_taken_again():
    assert states([copy("a", "1"), copy("b", "1")], [5, 5], [], {"1": 5}) == (
        {"a": ("loaded", 5), "b": ("repeated", 0)},
        [],
    )


def test_empty_and_refused_files_have_no_rows():
    copies = [copy("a", "1"), copy("b", "1"), copy("c", "2", "is a PNG")]
    assert states(copies, [0, 0, 0], [], {}) == (
        {"a": ("empty", 0), "b": ("empty", 0), "c": ("quarantined", 0)},
        [],
    )


def test_a_refused_content_can_come_again_under_the_right_name():
    assert states([copy("a.jsonl", "1")], [3], [entry("a.csv", "1", "quarantined")], {}) == (
        {"a.jsonl": ("loaded", 3)},
        ["a.jsonl"],
    )


def test_a_content_that_is_put_back_in_place_of_another_is_said_not_to_count():
    first, later = datetime(2003, 7, 1), datetime(2003, 7, 2)
    known = [
        replace(entry("day", "right", "loaded", 5), landedAt=first),
        replace(entry("day", "typo", "loaded", 5), landedAt=later),
    ]
    loaded = {"right": 5, "typo": 5}
    assert states([copy("day", "right")], [5], known, loaded) == ({"day": ("quarantined", 0)}, [])
    # The latest content of its name again, or under another name: nothing is lost.
    assert states([copy("day", "typo")], [5], known, loaded) == ({"day": ("repeated", 0)}, [])
    assert states([copy("other", "right")], [5], known, loaded) == ({"other": ("repeated", 0)}, [])
    # All of it since the last run.
    copies = [
        replace(copy("day", each), file=replace(file("day"), landed=at)) for each, at in (("a", first), ("b", later))
    ]
    entries, _ = classify([*copies, copy("day", "a")], [5, 5, 5], [], {}, DAY)
    assert [each.state for each in entries] == ["loaded", "loaded", "quarantined"]


def test_files_are_read_again_when_their_rows_are_gone_or_they_could_not_be_read():
    known = [
        entry("good", "1", "loaded", 2),
        entry("lost", "2", "loaded", 2),
        entry("lost, and the file too", "2", "loaded", 2),
        entry("unreadable", None, "quarantined"),
        entry("empty", "0", "empty"),
        entry("bad", "3", "quarantined"),
    ]
    listed = [file(each.fileName) for each in known if each.fileName != "lost, and the file too"]
    kept = {each.fileName for each in still_true(known, {"1": 2}, listed)}
    assert kept == {"good", "lost, and the file too", "empty", "bad"}


def test_the_latest_entry_of_a_file_is_what_is_so():
    first, second = entry("a", None, "quarantined"), entry("a", "1", "loaded", 2, logged=datetime(2003, 8, 2))
    other = entry("b", "2", "loaded", 1)
    assert {(each.fileName, each.state) for each in latest([second, first, other])} == {
        ("a", "loaded"),
        ("b", "loaded"),
    }
