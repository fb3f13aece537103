"""What one transaction has staged, whatever the store: one version of a table, and which may be published."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from classic_cars.errors import ContractError, StoreError
from classic_cars.months import Months
from classic_cars.stores.base import Staged

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


def not_asked_for(contract: Contract, months: Months, found: Collection[date | None]) -> ContractError:
    """Rows are of months (None: of none) that were not asked for: whoever asks for those has them twice."""
    named = ", ".join(sorted(f"{month:%Y-%m}" if month else "no month" for month in {*found} - {*months}))
    return ContractError(
        f"{contract.address}: found rows of {named}, expected rows of {months} only; filter them in the asset's "
        "function"
    )


class StagedTables:
    """The staged versions of a transaction by address, in the order of staging; the latest of each."""

    def __init__(self) -> None:
        self._staged: dict[str, tuple[Staged, bool]] = {}

    def add(self, staged: Staged, append: bool) -> Staged:
        self._staged[staged.contract.address] = staged, append
        return staged

    @property
    def months(self) -> dict[str, Months | None]:
        """By address, the months that were staged; None: all of the table."""
        return {address: staged.months for address, (staged, _) in self._staged.items()}

    @property
    def replaced(self) -> dict[str, Months | None]:
        """By address, the months that have other rows once it is published; None: the whole table."""
        return {a: staged.months if staged.others is not None else None for a, (staged, _) in self._staged.items()}

    def clear(self) -> None:
        self._staged.clear()

    def must_not_hold(self, contract: Contract) -> None:
        """Raises ``StoreError`` for reading as published what this transaction has staged."""
        if contract.address in self._staged:
            raise StoreError(
                f"{contract.address}: was staged in this transaction and is not published yet; read the staged "
                "version's `rows` (and `others`), or read the table before staging it"
            )

    def must_take(self, contract: Contract, months: Months | None, append: bool) -> None:
        """Raises ``StoreError`` unless the new version takes the place of all that was staged of the table."""
        if contract.address not in self._staged:
            return
        before, appended = self._staged[contract.address]
        if append or appended or before.months != months:
            raise StoreError(
                f"{contract.address}: found {_named(before.months, appended)} staged in this transaction already, "
                f"expected to stage {_named(months, append)}; publish or discard it first"
            )

    def must_hold(self, staged: Staged) -> None:
        """Raises ``StoreError`` for a version that was discarded, published or staged again since."""
        found, _ = self._staged.get(staged.contract.address, (None, False))
        if found is not staged:
            raise StoreError(
                f"{staged.contract.address}: this staged version is not its transaction's any more: it was "
                f"{'staged again' if found else 'published or discarded'}; publish what was staged last"
            )


def _named(months: Months | None, append: bool) -> str:
    return "an addition" if append else f"{months or 'all rows'}"
