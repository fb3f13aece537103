"""References between the tables of a release that lead to nothing: the two tables are of different runs."""

from __future__ import annotations

from collections.abc import Container

from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import Reference
from classic_cars.serving.since import CONTRACTS, Since, rows_of
from classic_cars.stores.base import Reading
from classic_cars.stores.pins import WHOLE
from classic_cars.stores.sql import quoted, table_name
from classic_cars.wording import counted


def broken_references(store: Reading, there: Container[str], since: Since) -> list[str]:
    """One message for each reference of which a value is not in the table referred to; none when all are.

    ``there``: addresses of the tables that can be read. Raises ``StoreError`` when one cannot.
    """
    known = [
        (contract, each)
        for contract in CONTRACTS.values()
        for each in contract.references
        if each.to in CONTRACTS
        and contract.address in there
        and each.to in there
        and since.parts(contract.address, each.to)
    ]
    if not known:
        return []
    lost = (_lost(place, contract, each, since) for place, (contract, each) in enumerate(known))
    rows = store.query(" UNION ALL ".join(lost)).read_all().to_pylist()
    found = {row["place"]: row["lost"] for row in rows if row["lost"]}
    return [
        f"{contract.address} refers by {each.column} to {counted(found[place], 'value')} that {each.to} does not have"
        for place, (contract, each) in enumerate(known)
        if place in found
    ]


def _lost(place: int, contract: Contract, reference: Reference, since: Since) -> str:
    """SQL of one row: how many values lead to nothing. Distinct first, so that millions of rows are not joined."""
    column, key, to = quoted(reference.column), quoted(reference.to_column), CONTRACTS[reference.to]
    # A member that is gone may have been meant by any row.
    parts = {WHOLE} if since.parts(to.address) else since.parts(contract.address)
    where = f"{column} IS NOT NULL AND {rows_of(contract.address, parts)}"
    used = f"SELECT DISTINCT {column} AS key FROM {table_name(contract)} WHERE {where}"
    return (
        f"SELECT {place} AS place, count(*) AS lost FROM ({used}) AS used "
        f"ANTI JOIN {table_name(to)} AS members ON members.{key} = used.key"
    )
