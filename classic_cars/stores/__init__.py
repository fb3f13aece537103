"""Where tables live: the protocol, DuckDB, and the Dagster IO manager over them."""
