"""The landing place: a folder or a bucket where partners drop files. What lies there, and the bytes of it.

Nothing is known here of what files hold. A file in a folder may still be being written: it counts once its time
of change lies some seconds back. An object of a bucket appears whole.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from classic_cars.errors import LandingMoved, SourceAccessDenied, SourceError, SourceMissing, SourceUnreachable

#: A file that did not change for so long is complete.
SETTLE_SECONDS = 10.0
#: A time of change further in the future than this is a wrong clock's: nothing can be said from it.
CLOCK_SECONDS = 300.0
#: The last second that a date can have.
LAST_MOMENT = 253_402_300_799
#: Names under which uploads are under way.
UNFINISHED = (".tmp", ".part", ".crdownload", "~")
#: Seconds until a bucket that does not answer counts as gone, and one that stops answering.
CONNECT_SECONDS, READ_SECONDS = 3, 30

NOT_THERE = ("NoSuchKey", "404")
CHANGED = ("PreconditionFailed", "412")
#: S3's words for credentials that are none, or none any more.
NO_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed")
REFUSED = ("AccessDenied", "403", *NO_CREDENTIALS, "NoCredentialsError")
#: Refusals that concern more than the one object that was asked for, or pass by themselves.
OF_THE_PLACE = (*NO_CREDENTIALS, "NoSuchBucket", "RequestTimeout", "SlowDown", "TooManyRequests", "429")


@dataclass(frozen=True, order=True)
class LandedFile:
    """A file as it was listed. Another of its name, size and ``version`` is the same file."""

    name: str
    bytes: int
    version: str
    landed: datetime = field(compare=False)
    #: How the place itself calls it.
    path: str = field(compare=False, repr=False)

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.name, self.bytes, self.version


@dataclass(frozen=True)
class Listing:
    """What lies there: complete files by name, how many are not complete yet, and folders that cannot be read."""

    files: tuple[LandedFile, ...]
    unsettled: int = 0
    unreadable: tuple[str, ...] = ()


class Unreadable(Exception):
    """One file cannot be read, though the place can."""


class Place(Protocol):
    """What a kind of landing place has to do."""

    def list(self, now: float) -> Listing: ...

    def open(self, file: LandedFile) -> Any:
        """Context manager of the file's bytes.

        Raises ``LandingMoved`` when it is not the one listed any more, ``Unreadable`` when only this one cannot be
        read, and other ``SourceError``s when the place cannot.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Drop a file there, whole or not at all."""
        ...


class Landing:
    """The landing place at ``location``, ``file:///folder`` or ``s3://bucket/prefix``. Holds nothing open."""

    def __init__(self, location: str, settle_seconds: float = SETTLE_SECONDS) -> None:
        self.location = location
        if location.startswith("s3://"):
            self._place: Place = _Bucket(location)
        else:
            self._place = _Folder(Path(location.removeprefix("file://")), settle_seconds)

    def list(self, now: float | None = None) -> Listing:
        """What lies there; nothing when the place is not there. Raises ``SourceError``."""
        return self._place.list(time.time() if now is None else now)

    def open(self, file: LandedFile) -> Any:
        return self._place.open(file)

    def put(self, name: str, data: bytes) -> None:
        self._place.put(name, data)


def is_ignored(name: str) -> bool:
    """Whether a file of this name, folders included, is nobody's delivery: hidden, or an upload under way."""
    return any(part.startswith((".", "_")) for part in name.split("/")) or name.lower().endswith(UNFINISHED)


def is_settled(changed: float, now: float, settle_seconds: float) -> bool:
    """Whether a file that was last changed then is complete now."""
    return not now - settle_seconds < changed < now + CLOCK_SECONDS


class _Folder:
    def __init__(self, root: Path, settle_seconds: float) -> None:
        self._root, self._settle_seconds = root, settle_seconds

    def list(self, now: float) -> Listing:
        if self._root.exists() and not self._root.is_dir():
            raise SourceMissing(f"{self._root}: is a file, expected a folder; correct CLASSIC_CARS_LANDING")
        found, unsettled, unreadable = [], 0, []
        folders = [str(self._root)]
        while folders:
            folder = folders.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda each: each.name)
            except FileNotFoundError:
                continue  # nothing was dropped yet, or it was removed meanwhile
            except OSError as error:
                if folder == str(self._root):
                    raise SourceAccessDenied(
                        f"{folder}: cannot be listed ({error.strerror}); make it readable for user {os.geteuid()}"
                    ) from None
                unreadable.append(self._name(folder))
                continue
            for entry in entries:
                if is_ignored(name := self._name(entry.path)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif (seen := _look(entry)) is None:
                    continue
                elif is_settled(_changed(seen, now), now, self._settle_seconds):
                    found.append(_file(name, entry.path, seen))
                else:
                    unsettled += 1
        return Listing(tuple(sorted(found)), unsettled, tuple(sorted(unreadable)))

    @contextmanager
    def open(self, file: LandedFile) -> Iterator[BinaryIO]:
        try:
            stream = Path(file.path).open("rb")  # noqa: SIM115  (closed below; only opening is tried here)
        except FileNotFoundError:
            raise _moved(file) from None
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        with stream:
            yield stream
            if _file(file.name, file.path, os.fstat(stream.fileno())) != file:
                raise _moved(file)

    def put(self, name: str, data: bytes) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.tmp")
        unfinished.write_bytes(data)
        unfinished.replace(target)

    def _name(self, path: str) -> str:
        # A name may hold any bytes; those that are no text are shown as digits after a backslash, and so is no other.
        name = os.fsencode(os.path.relpath(path, self._root)).replace(b"\\", b"\\\\")
        return name.decode("utf-8", "backslashreplace")


def _look(entry: os.DirEntry) -> os.stat_result | None:
    """The facts of a regular file; None for anything else.

    A pipe would be waited for. A link could show us any file of this machine, to whoever may drop files here.
    """
    try:
        seen = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # removed meanwhile
    return seen if stat.S_ISREG(seen.st_mode) else None


def _changed(seen: os.stat_result, now: float) -> float:
    """When the file was last changed; by this machine's clock where the writer's is ahead."""
    return seen.st_mtime if seen.st_mtime < now + CLOCK_SECONDS else seen.st_ctime


def _file(name: str, path: str, seen: os.stat_result) -> LandedFile:
    landed = datetime.fromtimestamp(min(max(seen.st_mtime, 0), LAST_MOMENT), UTC).replace(tzinfo=None)
    return LandedFile(name, seen.st_size, str(seen.st_mtime_ns), landed, path)


def _moved(file: LandedFile) -> LandingMoved:
    return LandingMoved(f"{file.name}: changed while it was read; it is read again when it has settled")


class _Bucket:
    def __init__(self, location: str) -> None:
        self._location = location
        self._bucket, _, prefix = location.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._made: Any = None

    @property
    def _client(self) -> Any:
        """boto3's client, which finds region, endpoint and credentials the standard AWS way; safe to share."""
        if self._made is None:
            try:
                import boto3
                from botocore.config import Config
            except ImportError:
                raise SourceError(f"{self._location}: boto3 is missing; pip install 'classic-cars[s3]'") from None
            patience = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": 3, "mode": "standard"},
                max_pool_connections=32,
            )
            session = boto3.Session()
            self._made = session.client("s3", region_name=session.region_name or "us-east-1", config=patience)
        return self._made

    def list(self, now: float) -> Listing:  # noqa: ARG002
        with self._clear_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [self._file(each) for page in pages for each in page.get("Contents", [])]
        return Listing(
            tuple(sorted(each for each in found if not each.name.endswith("/") and not is_ignored(each.name)))
        )

    def _file(self, seen: dict[str, Any]) -> LandedFile:
        landed = seen["LastModified"].astimezone(UTC).replace(tzinfo=None)
        name = seen["Key"].removeprefix(self._prefix)
        return LandedFile(name, seen["Size"], seen["ETag"].strip('"'), landed, seen["Key"])

    @contextmanager
    def open(self, file: LandedFile) -> Iterator[Any]:
        with self._clear_errors(file):
            answer = self._client.get_object(Bucket=self._bucket, Key=file.path, IfMatch=file.version)
            yield answer["Body"]

    def put(self, name: str, data: bytes) -> None:
        with self._clear_errors():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    @contextmanager
    def _clear_errors(self, file: LandedFile | None = None) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if file is not None and code in (*NOT_THERE, *CHANGED):
                raise _moved(file) from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if file is not None and 400 <= status < 500 and code not in OF_THE_PLACE:
                raise Unreadable(code) from None
            raise self._refusal(code) from None
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise self._refusal(type(error).__name__) from None

    def _refusal(self, code: str) -> SourceError:
        """The error for AWS's own word."""
        if code in ("NoSuchBucket", "404"):
            return SourceMissing(
                f"{self._location}: there is no such bucket; create it, or correct CLASSIC_CARS_LANDING"
            )
        if code in REFUSED:
            return SourceAccessDenied(f"{self._location}: S3 denies access ({code}); check the AWS credentials")
        return SourceUnreachable(f"{self._location}: S3 does not answer as it should ({code})")
