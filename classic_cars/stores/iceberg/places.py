"""Catalogs that give no table of another place than the warehouse.

A catalog knows tables by the whole place of their metadata. That of a home that was copied still has the original's
tables, and whoever wrote to it would write there; that of a home that was moved has tables that are gone. A REST server
has none of these: it is asked for a warehouse, and places the tables in it as it likes.
"""

from __future__ import annotations

import os

from pyiceberg.catalog import WAREHOUSE_LOCATION
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.table import Table
from pyiceberg.typedef import Identifier
from sqlalchemy import select
from sqlalchemy.orm import Session

from classic_cars.errors import StoreError


class SqlOfWarehouse(SqlCatalog):
    """Asks for the place first: the metadata of a home that was moved cannot be read any more."""

    def load_table(self, identifier: str | Identifier) -> Table:
        layer, name = self.namespace_to_string(self.namespace_from(identifier)), self.table_name_from(identifier)
        wanted = select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == self.name,
            IcebergTables.table_namespace == layer,
            IcebergTables.table_name == name,
        )
        with Session(self.engine) as session:
            place = session.scalar(wanted)
        if place is not None:
            must_be_inside(self.properties[WAREHOUSE_LOCATION], f"{layer}/{name}", place)
        return super().load_table(identifier)


class GlueOfWarehouse(GlueCatalog):
    """What other teams have in the same Glue is no table of the platform, and not loaded."""

    def load_table(self, identifier: str | Identifier) -> Table:
        table = super().load_table(identifier)
        must_be_inside(self.properties[WAREHOUSE_LOCATION], "/".join(table.name()), table.metadata_location)
        return table


def must_be_inside(warehouse: str, address: str, metadata: str) -> None:
    """Raises ``StoreError`` when the table's metadata lies elsewhere; says how such a table is used, and moved."""
    if _plain(metadata).startswith(f"{_plain(warehouse)}/"):
        return
    raise StoreError(
        f"{address}: the catalog has it at {metadata.rpartition('/metadata/')[0]}, expected it in the warehouse "
        f"{warehouse}. Files of a lake cannot be copied or moved to another place. Use it where it was: set "
        "CLASSIC_CARS_HOME or CLASSIC_CARS_WAREHOUSE to that place, and move it back there if it was moved. To bring "
        "its tables here, `classic-cars export` there and `classic-cars import` into a new home. Nothing was changed"
    )


def _plain(place: str) -> str:
    """The same text for the same place: with another scheme of S3, through a link, with a slash at its end."""
    scheme, found, rest = place.partition("://")
    if found and scheme in ("s3", "s3a", "s3n"):
        return f"s3://{rest.rstrip('/')}"
    return os.path.realpath(place.removeprefix("file:"))
