"""The landing zone: which files count, and what a copy of one holds or is refused for."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from classic_cars.assets.source import ratings
from classic_cars.contracts.landed import RATINGS
from classic_cars.errors import SourceAccessDenied, SourceError, SourceMissing, SourceUnreachable
from classic_cars.sources.landing import Landing, copies, text
from classic_cars.sources.landing.copies import Copier, Copy
from classic_cars.sources.landing.lines import intake
from classic_cars.sources.landing.listing import is_ignored, is_settled
from classic_cars_tests.landed import jsonl, rating

NOW = 2_000_000_000.0
LONG_AGO = NOW - 3600
HEADER = ",".join(RATINGS.columns)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "landing"
    root.mkdir()
    return root


def drop(root: Path, name: str, data: str | bytes = b"x", changed: float = LONG_AGO) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    os.utime(path, (changed, changed))


def names(root: Path) -> list[str]:
    return [each.name for each in Landing(f"file://{root}").list(NOW).files]


@pytest.mark.parametrize(
    "name",
    [".hidden.csv", "a.csv.tmp", "a.PART", "a.crdownload", "a.csv~", "_SUCCESS", ".git/a.csv", "_temporary/a.csv"],
)
def test_uploads_under_way_and_hidden_files_are_ignored(name: str):
    assert is_ignored(name)


@pytest.mark.parametrize("name", ["a.csv", "2003/08/a_b.jsonl", "template.csv", "no extension"])
def test_deliveries_are_not_ignored(name: str):
    assert not is_ignored(name)


@pytest.mark.parametrize(
    ("age", "settled"), [(0, False), (9, False), (10, True), (3600, True), (-5, False), (-9e6, True)]
)
def test_a_file_has_settled_when_it_did_not_change_for_ten_seconds(age: float, settled: bool):
    assert is_settled(NOW - age, NOW, 10) is settled


def test_a_listing_goes_through_folders_and_leaves_out_what_is_no_complete_file(root: Path):
    drop(root, "b.csv")
    drop(root, "2003/08/a.jsonl")
    drop(root, "_temporary/c.csv")
    drop(root, "growing.csv", changed=NOW - 1)
    os.mkfifo(root / "pipe.csv")
    (root / "nowhere.csv").symlink_to(root / "missing.csv")
    secret = root.with_name("secret.csv")
    secret.write_text("not ours to read")
    (root / "link.csv").symlink_to(secret)
    listing = Landing(f"file://{root}").list(NOW)
    assert [each.name for each in listing.files] == ["2003/08/a.jsonl", "b.csv"]
    assert listing.unsettled == 1


def test_a_name_that_is_no_text_is_shown_with_digits(root: Path):
    drop(root, os.fsdecode(b"caf\xe9.csv"))
    assert names(root) == ["caf\\xe9.csv"]


def test_a_missing_place_holds_nothing(tmp_path: Path):
    assert names(tmp_path / "nothing") == []


def test_a_place_that_is_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SourceMissing, match="is a file, expected a folder"):
        names(tmp_path / "file")


def test_a_place_that_refuses_is_an_error_and_a_folder_in_it_is_named(root: Path, monkeypatch: pytest.MonkeyPatch):
    drop(root, "good.csv")
    drop(root, "secret/a.csv")
    scan = os.scandir

    def refusing(folder: str):
        if folder.endswith(refused):
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    refused = "secret"
    listing = Landing(f"file://{root}").list(NOW)
    assert ([each.name for each in listing.files], listing.unreadable) == (["good.csv"], ("secret",))
    refused = "landing"
    with pytest.raises(SourceAccessDenied, match="cannot be listed"):
        names(root)


# Copies ------------------------------------------------------------------------------------------------


def copied(root: Path, name: str, data: str | bytes) -> Copy | None:
    drop(root, name, data)
    (file,) = Landing(f"file://{root}").list(NOW).files
    folder = root.parent / "copies"
    folder.mkdir(exist_ok=True)
    return Copier(Landing(f"file://{root}"), folder, RATINGS.columns, duckdb.connect()).copy(0, file)


def parquet(**columns: list) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def not_utf8() -> bytes:
    """Parquet whose text is none."""
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\x04\0\0\0"), pa.py_buffer(b"S\xffJD")])
    return parquet(**GOOD | {"productCode": text})


GOOD = {name: ["1"] for name in RATINGS.columns}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "is not CSV: it is a PNG image"),
        ("a.jsonl", b"%PDF-1.7", "is not JSON Lines: it is a PDF"),
        ("a.jsonl", b"<!doctype html><html>", "begins with '<': HTML or XML"),
        ("a.csv", b"<!doctype html><html>", "has no column customerNumber"),
        ("a.jsonl", b'[{"customerNumber": 1}]', "one JSON array"),
        ("a.csv", f"{HEADER}\n1,Citro\xebn,5,,".encode("latin-1"), "is not UTF-8: it holds the byte 0xeb"),
        ("a.csv", f"{HEADER}\n".encode("utf-16"), "UTF-16 text"),
        ("a.csv", f"{HEADER}\n1,S\x00,5,,".encode(), "holds bytes that no text does"),
        (
            "a.csv",
            b"customerNumber,productCode\n1,S",
            "no column productRating, ratedAt, ingestedAt; found 2 columns, known: customerNumber",
        ),
        ("a.csv", f"{HEADER},ratedAt\n".encode(), "has column ratedAt twice"),
        ("a.csv.gz", gzip.compress(HEADER.encode() * 99, mtime=0)[:-9], "is truncated or damaged gzip"),
        ("a.csv.gz", HEADER.encode(), "is truncated or damaged gzip: Not a gzipped file"),
        ("a.csv", gzip.compress(HEADER.encode(), mtime=0), "compressed with gzip, which its name does not say"),
        ("a.parquet", HEADER.encode(), "is not Parquet"),
        ("a.parquet", parquet(**GOOD)[:-20], "is damaged Parquet"),
        ("a.parquet", parquet(customerNumber=[1]), "has no column productCode"),
        ("a.jsonl", b'{"customer_number": 1, "product_code": "S1"}\n', "has none of the columns customerNumber, "),
        ("a.jsonl", b"x" * (text.LONGEST_LINE + 1), "line 1 is longer than"),
        ("a.xlsx", b"PK\x03\x04", "its name does not say what it is"),
        ("a.csv", b"x" * 200_000, "its first line cannot be taken apart as CSV"),
        ("a.csv", f'{HEADER}\n1,"'.encode() + b"x\n" * text.LONGEST_LINE, "or a quote in it is not closed"),
        ("a.json", b'{\n  "customerNumber": 1\n}', "is one JSON object over several lines"),
        ("a.jsonl", b'  [{"customerNumber": 1}]', "one JSON array"),
        ("a.parquet", parquet(**GOOD | {"productCode": ["x" * 50_000]}), "has a value of more than 32,768 bytes"),
        ("a.parquet", not_utf8(), "or holds text that is not UTF-8 (InvalidInputException)"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(root: Path, name: str, data: bytes, reason: str):
    copy = copied(root, name, data)
    assert copy is not None
    assert reason in str(copy.reason)
    assert copy.path is None
    assert copy.hash == hashlib.sha256(data).hexdigest()
    assert list((root.parent / "copies").iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_an_empty_file_is_no_error(root: Path, name: str):
    copy = copied(root, name, b"")
    assert copy is not None
    assert (copy.reason, copy.lines) == (None, 0)


def test_the_hash_is_of_the_unpacked_content(root: Path):
    text = jsonl(rating()).encode()
    copy = copied(root, "a.jsonl.gz", gzip.compress(text))
    assert copy is not None
    assert copy.hash == hashlib.sha256(text).hexdigest()


def test_a_file_that_changes_while_it_is_read_comes_again_later(root: Path, monkeypatch: pytest.MonkeyPatch):
    landing = Landing(f"file://{root}")
    drop(root, "a.jsonl", jsonl(rating()))
    (file,) = landing.list(NOW).files
    drop(root, "a.jsonl", jsonl(rating(), rating()))
    (root.parent / "copies").mkdir()
    assert Copier(landing, root.parent / "copies", RATINGS.columns, duckdb.connect()).copy(0, file) is None


def test_a_file_that_cannot_be_opened_is_refused_without_a_hash(root: Path, monkeypatch: pytest.MonkeyPatch):
    landing = Landing(f"file://{root}")
    drop(root, "a.jsonl", jsonl(rating()))
    (file,) = landing.list(NOW).files

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (root.parent / "copies").mkdir()
    copier = Copier(landing, root.parent / "copies", RATINGS.columns, duckdb.connect())
    monkeypatch.setattr(Path, "open", refuse)
    copy = copier.copy(0, file)
    assert copy is not None
    assert (copy.reason, copy.hash) == ("cannot be read: Permission denied", None)


def test_an_archive_that_unpacks_to_far_more_than_ratings_would_is_refused(root: Path, monkeypatch):
    monkeypatch.setattr(copies, "UNSUSPICIOUS", 1000)
    bomb = copied(root, "a.jsonl.gz", gzip.compress(b"\n" * 10_000_000))
    assert bomb is not None
    assert "unpacks to more than 200 times its size" in str(bomb.reason)
    (root / "a.jsonl.gz").unlink()
    copy = copied(root, "b.jsonl.gz", gzip.compress(jsonl(*map(rating, range(10_000))).encode()))
    assert copy is not None
    assert copy.lines == 10_000


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50, 1000])
def test_a_line_break_in_a_quoted_field_begins_no_row(root: Path, tmp_path: Path, monkeypatch, chunk: int):
    monkeypatch.setattr(copies, "CHUNK", chunk)
    forged = "109,S2,1,2003-08-01,2003-08-01,x"
    drop(
        root,
        "a.csv",
        f'{HEADER},"no\nte"\n103,S1,5,2003-08-01,2003-08-01,"nice ""car"",\n{forged}\nbye"\r\n'
        f'104,"S""3",4,2003-08-01,2003-08-01,\n105,S4,3,2003-08-01,2003-08-01,5" wide\n'
        f'106,S5,2,2003-08-01,2003-08-01,"last"',
    )
    found = [(row["customerNumber"], row["productCode"], row["lineNumber"]) for row in rows(root, tmp_path)]
    assert found == [(103, "S1", 2), (104, 'S"3', 3), (None, None, 4), (106, "S5", 5)]


def test_a_quote_that_is_never_closed_costs_its_own_line_only(root: Path, tmp_path: Path):
    drop(root, "a.csv", f'{HEADER}\n1,"S,5,2003-08-01,2003-08-01\n2,S,5,2003-08-01,2003-08-01\n')
    assert [row["customerNumber"] for row in rows(root, tmp_path)] == [None, 2]


def test_a_json_line_nested_deeper_than_anybody_reads_is_a_bad_line(root: Path, tmp_path: Path):
    drop(root, "a.jsonl", '{"a":' * 100_000 + "1" + "}" * 100_000 + "\n" + jsonl(rating()))
    bad, good = rows(root, tmp_path)
    assert (bad["customerNumber"], good["customerNumber"]) == (None, 103)


def test_a_full_disk_is_no_fault_of_a_parquet_file(root: Path):
    (root.parent / "copies").mkdir()
    drop(root, "a.parquet", parquet(**GOOD))
    (file,) = Landing(f"file://{root}").list(NOW).files
    (root.parent / "copies" / "0.lines").mkdir()  # cannot be written, whoever we are
    copier = Copier(Landing(f"file://{root}"), root.parent / "copies", RATINGS.columns, duckdb.connect())
    with pytest.raises(SourceError, match=r"a\.parquet: .*the copy cannot be written \(IOException\)"):
        copier.copy(0, file)


def test_names_that_are_shown_alike_are_not_the_same(root: Path):
    drop(root, os.fsdecode(b"a\xff.csv"))
    drop(root, "a\\xff.csv")
    assert names(root) == ["a\\\\xff.csv", "a\\xff.csv"]


def test_a_file_from_the_future_counts_when_our_own_clock_says_so(root: Path, monkeypatch: pytest.MonkeyPatch):
    drop(root, "a.csv", changed=253402300800.0)
    landing = Landing(f"file://{root}")
    now = (root / "a.csv").stat().st_ctime
    assert (landing.list(now + 5).files, landing.list(now + 5).unsettled) == ((), 1)
    assert [each.name for each in landing.list(now + 15).files] == ["a.csv"]


# Rows --------------------------------------------------------------------------------------------------


def rows(root: Path, tmp_path: Path) -> list[dict]:
    """The rows of everything that lies there, in the columns of the source layer."""
    landing = Landing(f"file://{root}")
    with intake(landing, tmp_path / "scratch", RATINGS.columns) as opened:
        copies = [each for each in opened.copies(landing.list(NOW).files) if each.path]
        opened.rows(copies)
        found = opened.read(copies, ratings.function).read_all().to_pylist()
    assert list((tmp_path / "scratch").iterdir()) == []
    return found


def test_lines_keep_their_numbers_in_every_file(root: Path, tmp_path: Path):
    for number in range(20):
        drop(root, f"{number:02d}.jsonl", "\n" * number + jsonl(*(rating(line) for line in range(1, 50)), "", "{"))
    found = rows(root, tmp_path)
    assert len(found) == 20 * 50
    for row in found:
        blank = int(row["fileName"][:2])
        assert row["lineNumber"] == blank + (row["customerNumber"] or 51)


def test_every_format_says_the_same(root: Path, tmp_path: Path):
    row = rating(rated="2003-08-01T12:00:00+02:00")
    drop(root, "1.jsonl", jsonl(row, row))
    drop(
        root,
        "2.csv",
        f"\ufeff{HEADER}\r\n"
        + ",".join(map(str, row.values()))
        + '\r\n103,"S10_1090",5,"2003-08-01 10:00",2003-08-01 10:00:00Z',
    )
    typed = row | {"productRating": Decimal("5.000")}
    drop(root, "3.parquet", parquet(**{name: [value, value] for name, value in typed.items()}))
    drop(root, "4.jsonl.gz", gzip.compress(jsonl(row, row).encode() + b"\n"))
    found = rows(root, tmp_path)
    assert len(found) == 8
    assert {tuple(str(each[name]) for name in RATINGS.columns) for each in found} == {
        ("103", "S10_1090", "5", "2003-08-01 10:00:00", "2003-08-01 10:00:00")
    }
    assert sorted((each["fileName"], each["lineNumber"]) for each in found) == [
        *[("1.jsonl", line) for line in (1, 2)],
        *[("2.csv", line) for line in (2, 3)],
        *[("3.parquet", line) for line in (1, 2)],
        *[("4.jsonl.gz", line) for line in (1, 2)],
    ]


@pytest.mark.parametrize(
    "line",
    ["{bad", "[1, 2]", '"text"', "1", '{"customerNumber": 1} {"customerNumber": 2}', "\u2028", "null"],
)
def test_a_line_that_is_no_object_is_kept_whole(root: Path, tmp_path: Path, line: str):
    drop(root, "a.jsonl", jsonl(rating(), line))
    good, bad = rows(root, tmp_path)
    assert good["_rescued_data"] is None
    assert duckdb.execute("SELECT ?::JSON ->> '_line'", [bad["_rescued_data"]]).fetchone() == (line,)
    assert [bad[name] for name in RATINGS.columns] == [None] * 5


@pytest.mark.parametrize(
    "line", ["1,S", "1,S,5,2003-08-01,2003-08-01,more", '1,"S,5,2003-08-01,2003-08-01', '1,S"x,5,a,b']
)
def test_a_csv_line_with_other_fields_than_its_header_is_kept_whole(root: Path, tmp_path: Path, line: str):
    drop(root, "a.csv", f"{HEADER}\n{line}\n1,S,5,2003-08-01,2003-08-01\n")
    bad, good = rows(root, tmp_path)
    assert good["productRating"] == 5
    assert duckdb.execute("SELECT ?::JSON ->> '_line'", [bad["_rescued_data"]]).fetchone() == (line,)


def test_csv_columns_go_by_name_and_quotes_are_undone(root: Path, tmp_path: Path):
    drop(
        root,
        "a.csv",
        'note,ingestedAt,"ratedAt",productRating,productCode,customerNumber\n"a ""b"", c",,2003-08-01,4,"S,1",7\n',
    )
    (row,) = rows(root, tmp_path)
    assert (row["customerNumber"], row["productCode"], row["productRating"]) == (7, "S,1", 4)
    assert row["ingestedAt"] is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("productRating", 4.5),
        ("productRating", "five"),
        ("customerNumber", 99999999999),
        ("ratedAt", "2003-02-30"),
        ("ratedAt", "yesterday"),
        ("ratedAt", "infinity"),
        ("ratedAt", "01.08.2003"),
        ("ratedAt", {"day": 1}),
    ],
)
def test_a_value_that_does_not_fit_is_kept_beside_the_others(root: Path, tmp_path: Path, column: str, value: object):
    drop(root, "a.jsonl", jsonl(rating() | {column: value}))
    (row,) = rows(root, tmp_path)
    assert row[column] is None
    assert f'"{column}": ' in row["_rescued_data"]
    assert row["productCode"] == "S10_1090"


# A bucket that refuses -----------------------------------------------------------------------------------


class Refusing:
    """S3, of two objects one of which it does not give."""

    def __init__(self, code: str, status: int) -> None:
        self.code, self.status = code, status

    def get_paginator(self, _: str) -> Refusing:
        return self

    def paginate(self, **_: str) -> list[dict]:
        facts = {"Size": 3, "ETag": '"1"', "LastModified": datetime(2003, 8, 1, tzinfo=UTC)}
        return [{"Contents": [facts | {"Key": name} for name in ("a.jsonl", "b.jsonl")]}]

    def get_object(self, Bucket: str, Key: str, IfMatch: str) -> dict:
        if Key == "a.jsonl":
            answer: Any = {"Error": {"Code": self.code}, "ResponseMetadata": {"HTTPStatusCode": self.status}}
            raise ClientError(answer, "GetObject")
        return {"Body": io.BytesIO(b"{}\n")}


def of_a_bucket(tmp_path: Path, code: str, status: int) -> list[tuple]:
    landing = Landing("s3://bucket")
    landing._place._made = Refusing(code, status)  # type: ignore[attr-defined]
    with intake(landing, tmp_path, RATINGS.columns) as opened:
        return [(each.file.name, each.reason, each.hash is None) for each in opened.copies(landing.list().files)]


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("InvalidObjectState", 403), ("InvalidRequest", 400), ("KMS.DisabledException", 400)],
)
def test_an_object_that_cannot_be_read_keeps_no_other_out(tmp_path: Path, code: str, status: int):
    assert of_a_bucket(tmp_path, code, status) == [
        ("a.jsonl", f"cannot be read: {code}", True),
        ("b.jsonl", None, False),
    ]


def test_an_object_that_is_gone_is_left_out(tmp_path: Path):
    assert of_a_bucket(tmp_path, "NoSuchKey", 404) == [("b.jsonl", None, False)]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ExpiredToken", 400, SourceAccessDenied),
        ("SlowDown", 503, SourceUnreachable),
        ("InternalError", 500, SourceUnreachable),
    ],
)
def test_what_is_wrong_with_the_bucket_is_no_fault_of_an_object(tmp_path: Path, code: str, status: int, error: type):
    with pytest.raises(error, match=rf"a\.jsonl: s3://bucket: .*\({code}\)"):
        of_a_bucket(tmp_path, code, status)
