"""Tests of classic_cars: ``unit`` (no Dagster), ``assets`` (through Dagster), ``end_to_end`` (real parts)."""
