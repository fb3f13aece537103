"""Spark as the engine of a lake, through Spark Connect: this process plans, the server's cluster reads and writes.

No Iceberg library is needed there: Spark writes Parquet with field ids, and PyIceberg commits it from here. The server
and its executors have to reach the warehouse themselves.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.operations as ops
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema

from classic_cars.contracts.base import Contract
from classic_cars.errors import EngineUnreachable, StoreError
from classic_cars.interrupts import interruptible
from classic_cars.months import Months
from classic_cars.stores.iceberg.engines.base import Written, order_of
from classic_cars.stores.iceberg.engines.spark_session import Remote, clear_errors, connected
from classic_cars.stores.iceberg.engines.spark_types import FIELD_ID, arrow_fields, fields_of, ibis_schema, spark_type

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.engines.spark_backend import SparkBackend

#: How long a server has to end a session before we hang up.
GOODBYE_SECONDS = 5.0
OPTIONS = {"compression": "zstd", "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}


class SparkEngine:
    """Spark at ``remote``; connected when first used, and again with each new token. ``page``: its web page."""

    def __init__(self, remote: Remote, page: str | None = None) -> None:
        self._remote, self._page = remote, page
        self._url = self._session_id = ""
        self._session: Any = None
        self._backend: SparkBackend | None = None
        self._views: dict[tuple[Any, ...], ibis.Table] = {}
        interruptible(self)

    @property
    def name(self) -> str:
        return f"Spark {self.session.version}"

    @property
    def page(self) -> str | None:
        return self._page

    @property
    def session(self) -> Any:
        """The session, with the token of this moment."""
        url = self._remote.url()
        if self._session is None or url != self._url:
            self._session_id = self._session_id or str(uuid.uuid4())
            before, self._session = self._session, connected(self._remote, _in_session(url, self._session_id))
            self._url = url
            if before is not None:
                _hang_up(before)
            if self._backend is not None:
                self._backend.use(self._session)
        return self._session

    @property
    def backend(self) -> SparkBackend:
        if self._backend is None:
            from classic_cars.stores.iceberg.engines.spark_backend import SparkBackend

            self._backend = SparkBackend(self.session, self._clearly)
        return self._backend

    @contextmanager
    def _clearly(self) -> Iterator[None]:
        """Spark's errors become ours; a session that is lost is forgotten, so that the next try has its own."""
        try:
            with clear_errors(self._remote):
                yield
        except EngineUnreachable:
            self._forget()
            raise

    def _forget(self) -> None:
        self._remote.close()
        self._session = self._backend = None
        self._url = self._session_id = ""
        self._views.clear()

    def view(
        self, layer: str, name: str, files: Sequence[str], schema: Schema, contract: Contract | None
    ) -> ibis.Table:
        # Told apart by content, never by name: an expression over an older version must keep meaning that one.
        key = (tuple(files), str(schema), None if contract is None else contract.address)
        session = self.session
        if key not in self._views:
            fields = fields_of(schema)
            with self._clearly():
                if files:
                    frame = session.read.schema(fields).parquet(*map(_spark_path, files))
                else:
                    frame = session.createDataFrame([], fields)
                self._views[key] = self._named(f"{layer}_{name}", frame, ibis_schema(schema, contract))
        return self._views[key]

    def _named(self, name: str, frame: Any, schema: ibis.Schema) -> ibis.Table:
        view = f"{re.sub(r'[^0-9A-Za-z]+', '_', name)}_{uuid.uuid4().hex[:12]}"
        frame.createOrReplaceTempView(view)
        return ops.DatabaseTable(name=view, schema=schema, source=self.backend, namespace=ops.Namespace()).to_expr()

    def write(
        self,
        io: FileIO,
        contract: Contract,
        rows: ibis.Table,
        folder: str,
        schema: Schema,
        months: Months | None,  # noqa: ARG002
    ) -> Written:
        """Below a new folder, which then is listed: whatever lies there is of this write."""
        from pyspark.sql.connect import functions
        from pyspark.sql.connect.dataframe import DataFrame
        from pyspark.sql.connect.plan import SQL

        session, place = self.session, f"{folder}/{uuid.uuid4().hex}"
        query = self.backend.compile(rows.select(*contract.types.names))
        columns = [
            functions.col(f"`{field.name}`")
            .cast(spark_type(field.field_type))
            .alias(field.name, metadata={FIELD_ID: field.field_id})
            for field in schema.fields
        ]
        with self._clearly():
            frame = DataFrame(SQL(query), session).select(*columns)
            writer = _arranged(frame, contract).write.options(**OPTIONS)
            if contract.partitioned_by:
                writer = writer.partitionBy(f"{contract.partitioned_by}_month")
            writer.parquet(_spark_path(place))
        return Written(_files_with_rows(io, place), query)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        table = rows.read_all() if isinstance(rows, pa.RecordBatchReader) else rows
        session = self.session
        with self._clearly():
            # Of a table without rows Spark's client would infer the types from its values.
            frame = session.createDataFrame(table if table.num_rows else [], arrow_fields(table.schema))
            return self._named("arriving", frame, ibis.Schema.from_pyarrow(table.schema))

    def interrupt(self) -> None:
        """From now on nothing is tried again: a server that is gone would keep us waiting. It ends what runs there when
        the session is closed.
        """
        if (session := self._session) is not None:
            session.client.set_retry_policies([])

    def close(self) -> None:
        self.interrupt()
        if (session := self._session) is not None:
            # A server that is silent would keep us waiting: it ends the session by itself when it finds it idle.
            ending = threading.Thread(target=self._end, args=(session,), daemon=True)
            ending.start()
            ending.join(GOODBYE_SECONDS)
            _hang_up(session)
        self._forget()

    def _end(self, session: Any) -> None:
        with suppress(StoreError), clear_errors(self._remote):  # whoever is gone keeps nothing
            session.stop()


def _hang_up(session: Any) -> None:
    """Whatever still waits for the server, in other threads too, ends. The client has no other way to say so: its own
    ``close`` waits for them first.
    """
    session.client._channel.close()


def _in_session(url: str, session_id: str) -> str:
    """The address of this session there, however often it is connected to."""
    server, _, options = url.partition("/;")
    return f"{server.rstrip('/')}/;{options.strip(';')}{';' if options else ''}session_id={session_id}"


def _arranged(frame: Any, contract: Contract) -> Any:
    """Rows of a month together, in files of a good size, sorted."""
    from pyspark.sql.connect import functions

    order = order_of(contract)
    if not contract.partitioned_by:
        return frame.hint("rebalance").sortWithinPartitions(*order) if order else frame
    month = f"{contract.partitioned_by}_month"
    frame = frame.withColumn(month, functions.date_format(functions.col(f"`{contract.partitioned_by}`"), "yyyy-MM"))
    return frame.hint("rebalance", functions.col(month)).sortWithinPartitions(month, *order)


def _spark_path(path: str) -> str:
    """Hadoop's own name for S3."""
    return f"s3a://{path.removeprefix('s3://')}" if path.startswith("s3://") else path


def _files_with_rows(io: FileIO, place: str) -> list[str]:
    """The Parquet files below a folder, but for those without rows; all else is removed, such as Hadoop's checksums.

    What lies in Hadoop's hidden folders (``_temporary``) are attempts, perhaps of a task that ends too late: nobody has
    counted their rows, and maintenance removes them.
    """
    if not isinstance(io, PyArrowFileIO):
        raise StoreError(f"{place}: files can be listed with PyIceberg's Arrow file access only")
    scheme, netloc, path = PyArrowFileIO.parse_location(place, io.properties)
    system = io.fs_by_scheme(scheme, netloc)
    prefix = place.removesuffix(path)
    found = []
    for each in system.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True)):
        *folders, name = each.path.removeprefix(path).strip("/").split("/")
        if each.type != pafs.FileType.File or any(map(_is_hidden, folders)):
            continue
        if name.endswith(".parquet") and not _is_hidden(name) and _rows(system, each.path):
            found.append(f"{prefix}{each.path}")
        else:
            system.delete_file(each.path)
    return sorted(found)


def _is_hidden(name: str) -> bool:
    """As Hadoop has it: a folder of a partition never is."""
    return name.startswith(("_", ".")) and "=" not in name


def _rows(system: pafs.FileSystem, path: str) -> int:
    with system.open_input_file(path) as file:
        return int(pq.read_metadata(file).num_rows)
