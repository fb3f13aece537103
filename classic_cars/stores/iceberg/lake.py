"""Where the lake is: its warehouse, its catalog, and how PyIceberg reaches both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pyiceberg.catalog import Catalog, load_catalog
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from classic_cars.errors import StoreError
from classic_cars.stores.iceberg.aws import S3Access
from classic_cars.stores.iceberg.encryption import KEY_PROPERTY, EncryptingFileIO
from classic_cars.stores.iceberg.places import GlueOfWarehouse, SqlOfWarehouse

#: The name under which an SQL catalog keeps its tables; others may keep theirs in the same database.
CATALOG_NAME = "classic_cars"
#: Seconds that a writer of an SQLite catalog waits for another one.
SQLITE_SECONDS = 30


#: Processes that open a new SQL catalog together all make its tables; those that come second try again.
_retry_transient = Retrying(
    retry=retry_if_exception_type(DBAPIError),
    stop=stop_after_attempt(4),
    wait=wait_random(0.05, 0.3),
    reraise=True,
)

_CATALOGS: dict[str, Callable[..., Catalog]] = {"sql": SqlOfWarehouse, "rest": load_catalog, "glue": GlueOfWarehouse}


@dataclass(frozen=True)
class Lake:
    """A warehouse (``file:///folder`` or ``s3://bucket/prefix``) and the catalog that knows its tables.

    ``uri`` may hold a password: it is shown nowhere. ``encryption`` is ``aws:kms:<key id>``, ``AES256``, which the
    bucket must do by default, or ``none``: whatever the bucket does.
    """

    warehouse: str
    kind: str = "sql"
    uri: str = field(repr=False, default="")
    encryption: str = "none"

    @property
    def bucket(self) -> str | None:
        """The S3 bucket; None for a local folder."""
        return urlsplit(self.warehouse).netloc if self.warehouse.startswith("s3://") else None

    @property
    def kms_key(self) -> str | None:
        """The KMS key that data files are encrypted with, when that is asked for."""
        return self.encryption.removeprefix("aws:kms:") if self.encryption.startswith("aws:kms:") else None

    @property
    def folder(self) -> Path | None:
        """The local folder; None on S3."""
        return None if self.bucket else Path(self.warehouse.removeprefix("file://"))

    def location(self, layer: str, name: str) -> str | None:
        """Where a new table goes; None when the catalog's server decides."""
        return None if self.kind == "rest" else f"{self.warehouse}/{layer}/{name}"

    def open(self, access: S3Access | None) -> Catalog:
        """The catalog. Raises ``StoreError`` that names it, without its password."""
        properties = {"warehouse": self.warehouse, **(access.for_pyiceberg() if access else {})}
        if self.kms_key and self.bucket:
            properties |= {"py-io-impl": f"{EncryptingFileIO.__module__}.EncryptingFileIO", KEY_PROPERTY: self.kms_key}
        properties |= {"sql": self._sql, "rest": self._rest, "glue": self._glue}[self.kind](access)
        try:
            return _retry_transient(lambda: _CATALOGS[self.kind](CATALOG_NAME, **properties))
        except Exception as error:
            # A driver's message may quote the whole address.
            raise StoreError(
                f"{self.kind} catalog at {self.redacted}: cannot be opened ({type(error).__name__}); check "
                "CLASSIC_CARS_CATALOG_URI and that the server answers"
            ) from None

    @property
    def redacted(self) -> str:
        """The catalog's address without user and password."""
        if not self.uri:
            return self.kind
        parts = urlsplit(self.uri)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def _sql(self, _access: S3Access | None) -> dict[str, str]:
        scheme, _, rest = self.uri.partition("://")
        if scheme == "sqlite":
            Path(rest.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
            return {"type": "sql", "uri": f"{self.uri}?timeout={SQLITE_SECONDS}"}
        driver = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}.get(scheme, scheme)
        return {"type": "sql", "uri": f"{driver}://{rest}"}

    def _rest(self, access: S3Access | None) -> dict[str, str]:
        parts = urlsplit(self.uri)
        login, _, host = parts.netloc.rpartition("@")
        properties = {"type": "rest", "uri": urlunsplit((parts.scheme, host, parts.path, parts.query, ""))}
        if login:
            properties["credential"] = unquote(login)
            properties["oauth2-server-uri"] = f"{properties['uri'].rstrip('/')}/v1/oauth/tokens"
        elif access is not None and (parts.hostname or "").endswith(".amazonaws.com"):
            service = (parts.hostname or "").partition(".")[0]
            properties |= {
                "rest.sigv4-enabled": "true",
                "rest.signing-name": service,
                "rest.signing-region": access.region,
            }
        return properties

    def _glue(self, access: S3Access | None) -> dict[str, str]:
        # Glue's own client finds credentials by itself, the standard way.
        properties = {"type": "glue"}
        if access is not None:
            properties["glue.region"] = access.region
        if self.uri:
            properties["glue.endpoint"] = self.uri
        return properties
