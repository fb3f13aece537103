"""The landing zone: a folder or a bucket where partners drop files. Nothing is known here of what files hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from classic_cars.sources.landing.bucket import Bucket, s3_client
from classic_cars.sources.landing.folder import Folder
from classic_cars.sources.landing.listing import SETTLE_SECONDS, LandedFile, Listing


class Place(Protocol):
    """What a kind of landing zone has to do."""

    def list(self, now: float) -> Listing: ...

    def open(self, file: LandedFile) -> AbstractContextManager[Any]:
        """The file's bytes.

        Raises ``LandedFileChanged`` when it is not the one listed any more, ``Unreadable`` when only this one cannot be
        read, and other ``SourceError``s when the place cannot.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Drop a file there, whole or not at all."""
        ...


class Landing:
    """The landing zone at ``location``, ``file:///folder`` or ``s3://bucket/prefix``. Holds nothing open."""

    def __init__(
        self, location: str, settle_seconds: float = SETTLE_SECONDS, s3: Callable[[], Any] = s3_client
    ) -> None:
        """``s3`` makes the client for a bucket, when it is first needed."""
        self.location = location
        self._place: Place = (
            Bucket(location, s3)
            if location.startswith("s3://")
            else Folder(Path(location.removeprefix("file://")), settle_seconds)
        )

    def list(self, now: float | None = None) -> Listing:
        """What lies there; nothing when the place is not there. Raises ``SourceError``."""
        return self._place.list(time.time() if now is None else now)

    def open(self, file: LandedFile) -> AbstractContextManager[Any]:
        return self._place.open(file)

    def put(self, name: str, data: bytes) -> None:
        self._place.put(name, data)
