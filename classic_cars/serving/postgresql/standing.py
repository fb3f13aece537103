"""How what PostgreSQL holds stands to the releases of this home: the current one, an older one, or none of them."""

from __future__ import annotations

from contextlib import suppress

from classic_cars.errors import StoreDamaged, TableMissing
from classic_cars.serving.postgresql.held import Holding
from classic_cars.serving.releases import Release, current, newest, release_of
from classic_cars.stores.pins import Shelf

SERVE = "`classic-cars releases serve`"
TAKE_OVER = f"{SERVE[:-1]} --take-over`"
HEAL = f"the next release brings it there, and so does {SERVE}"


def behind(shelf: Shelf, holding: Holding | None) -> str:
    """Why PostgreSQL does not hold the current release; empty when it does, or none was made yet."""
    wanted = current(shelf)
    if wanted is None or (holding is not None and is_of(wanted, holding)):
        return ""
    if holding is not None and (strange := foreign(shelf, holding)):
        return strange
    found = f"release {holding.number}" if holding is not None else "no release"
    return f"PostgreSQL holds {found}, the current one is {wanted.number}; {HEAL}"


def foreign(shelf: Shelf, holding: Holding) -> str:
    """What is to be done about a release that this home did not make; empty when it did.

    Of one that is older than those that are kept, only its time can be asked.
    """
    numbers = shelf.numbers()
    is_ours = False
    with suppress(TableMissing, StoreDamaged):
        if holding.number in numbers:
            is_ours = is_of(release_of(shelf, holding.number), holding)
        elif numbers and holding.number < numbers[0]:
            is_ours = holding.made < release_of(shelf, numbers[0]).made
    if is_ours:
        return ""
    return (
        f"PostgreSQL holds {holding.line()}, which this home did not make (its newest is {newest(shelf)}): another "
        "home serves there, or this one's releases were deleted; name another database in CLASSIC_CARS_SERVING_URL, or "
        f"replace what is there: {TAKE_OVER}"
    )


def is_of(release: Release, holding: Holding) -> bool:
    """A number alone is another home's, too."""
    return (release.number, release.made, release.run_id) == (holding.number, holding.made, holding.run)
