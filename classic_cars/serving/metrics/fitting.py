"""Whether measures and dimensions fit the star schema: found when definitions are loaded, before anybody asks."""

from __future__ import annotations

from collections.abc import Iterable

import ibis

from classic_cars.contracts.authoring import missing, written
from classic_cars.contracts.base import Contract
from classic_cars.contracts.cuts import DAY, DIMENSIONS, Dimension
from classic_cars.contracts.measures import FACTS, MEASURES, Measure, Metric, parts_of
from classic_cars.serving.metrics.rows import contracts


def check_metrics(
    measures: Iterable[Measure] = tuple(MEASURES.values()), dimensions: Iterable[Dimension] = tuple(DIMENSIONS.values())
) -> None:
    """Raises ``ContractError`` for the first that names what is not there."""
    for fact in FACTS.values():
        missing(fact.address, "its Fact", (fact.day, *fact.keys), contracts()[fact.address].types.names)
    for each in dict.fromkeys(part for measure in measures for part in parts_of(measure)):
        _check_metric(each)
    for dimension in dimensions:
        _check_dimension(dimension)


def _check_metric(metric: Metric) -> None:
    of, contract = f"measure {metric.name}", contracts()[metric.fact]
    missing(of, f"columns, of {metric.fact},", metric.columns, contract.types.names)
    with written(of, f"its value of {metric.fact}"):
        metric.of(_columns(contract))


def _check_dimension(dimension: Dimension) -> None:
    of = f"dimension {dimension.name}"
    if dimension.key == DAY:
        return
    missing(of, "key", [dimension.key], {key for fact in FACTS.values() for key in fact.keys})
    known = {dimension.key}
    for address, key in dimension.path:
        missing(of, f"path to {address}", [key], contracts()[address].types.names)
        known |= set(contracts()[address].types.names)
    missing(of, "columns", [source for _, source in dimension.columns], sorted(known))


def _columns(contract: Contract) -> ibis.Table:
    return ibis.table(contract.types, name=contract.name, database=contract.layer)
