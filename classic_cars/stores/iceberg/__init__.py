"""Tables as an open lakehouse: Apache Iceberg on S3 or in a local folder, for every engine to read."""

from __future__ import annotations

from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.store import IcebergStore

__all__ = ["IcebergStore", "Lake"]
