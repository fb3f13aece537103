"""The planted bugs, by class."""

from __future__ import annotations

from classic_cars_tests.mutation.mutant import Mutant
from classic_cars_tests.mutation.planted import (
    answers,
    arrivals,
    customers_and_stock,
    dimensions,
    facts,
    metrics,
    staging,
    structure,
)

MUTANTS: tuple[Mutant, ...] = tuple(
    mutant
    for module in (arrivals, staging, facts, dimensions, metrics, answers, customers_and_stock, structure)
    for mutant in module.MUTANTS
)
