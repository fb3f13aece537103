"""What each table must look like: one module per layer, the single source of truth."""
