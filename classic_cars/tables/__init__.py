"""How a function and a contract become an asset: catalog, audit, quarantine, lineage, the Dagster side."""
