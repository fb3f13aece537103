"""When and in what parts tables are made: partitions and jobs."""
