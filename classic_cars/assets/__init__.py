"""The tables' functions, one module per layer. Pure: from tables to a table, no I/O, no engine's own SQL."""
