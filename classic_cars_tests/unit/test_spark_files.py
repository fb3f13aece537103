"""Which of the files that Spark left are a table's."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import PyArrowFileIO

from classic_cars.stores.iceberg.engines.spark import _files_with_rows


def test_attempts_that_spark_left_are_no_rows_of_the_table(tmp_path: Path):
    place = tmp_path / "_lake" / ".data"  # hidden folders above do not count
    kept = ["part-0.parquet", "day_month=2004-01/part-0.parquet", "_day_month=2004-01/part-1.parquet"]
    attempts = ["_temporary/0/_temporary/attempt_1/part-0.parquet", ".spark-staging/day_month=2004-01/part-0.parquet"]
    removed = [".part-0.parquet.crc", ".part-0.parquet", "_SUCCESS", "part-empty.parquet"]
    for name in [*kept, *attempts, *removed]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"sale": [] if "empty" in name else [1]}), place / name)
    found = _files_with_rows(PyArrowFileIO(), f"file://{place}")
    assert found == sorted(f"file://{place / name}" for name in kept)
    left = {str(each.relative_to(place)) for each in place.rglob("*") if each.is_file()}
    assert left == {*kept, *attempts}
