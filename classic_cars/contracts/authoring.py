"""Mistakes in what somebody wrote into a contract, a function or a measure: said with the name of what it belongs to.

They are errors of their author, found when definitions are loaded. Nothing here reads data, so that messages hold none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from classic_cars.errors import ClassicCarsError, ContractError


@contextmanager
def written(of: str, part: str) -> Iterator[None]:
    """Whatever fails in here is a mistake in ``part`` of the table or measure ``of``: raises ``ContractError``."""
    try:
        yield
    except ClassicCarsError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise ContractError(f"{of}: {part} is wrong: {type(error).__name__}: {said}; correct it") from error


def meant(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, as the end of a sentence; all of them where none is near."""
    listed = list(known)
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(listed) or 'none'}"


def missing(of: str, part: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ``ContractError`` for the first of the columns that ``part`` names and that are not among the known."""
    listed = list(known)
    for name in names:
        if name not in listed:
            raise ContractError(f"{of}: {part} names column {name}, which is not there; {meant(name, listed)}")
