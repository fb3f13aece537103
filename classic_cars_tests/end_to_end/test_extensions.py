"""DuckDB's extensions are those that DuckDB signed; tests of everything else load them without that proof."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from classic_cars.sources import scanner
from classic_cars.stores.iceberg.engines import duckdb as engine
from classic_cars_tests import remembered


@pytest.fixture(autouse=True)
def as_everywhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb, "connect", remembered.connect)


@pytest.mark.parametrize("name", ["sqlite", "mysql", "postgres"])
def test_each_scanner_is_signed(name: str) -> None:
    scanner.connected(name).close()


def test_the_extension_for_s3_is_signed() -> None:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        engine._load_httpfs(connection)


def test_an_extension_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    signed = scanner.extension("sqlite")
    changed = bytearray(signed.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / signed.name).write_bytes(changed)
    with duckdb.connect() as connection, pytest.raises(duckdb.IOException, match="signature"):
        connection.execute(f"LOAD {scanner.literal(str(tmp_path / signed.name))}")
