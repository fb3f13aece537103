"""Texts in the order system's own SQL: what its database shows of a value, and whether it is written as it should be.

One expression, and each database its own spelling of it; here is where they differ. What texts mean is decided
elsewhere: homes in ``home_months``, canonical values in ``canonical``.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

#: The end of a text for engines whose ``$`` also stands before a line break at the end.
END = "(?!x|[^x])"

#: What makes a number of double precision of any other, and of a text.
NOUGHT: sa.ColumnElement[float] = sa.literal_column("0e0", sa.Double())
#: What may follow the day: no time, or midnight.
MIDNIGHTS = ("", " 00:00:00", " 00:00:00.0", " 00:00:00.000", " 00:00:00.000000")

_THIRTY_ONE = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
_THIRTY = "(0[469]|11)-(0[1-9]|[12][0-9]|30)"
_FEBRUARY = "02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
#: A text that is a day of the calendar, at midnight if at any time; years begin with 0001.
DAY = f"^([0-9]{{4}}-({_THIRTY_ONE}|{_THIRTY}|{_FEBRUARY})|{_LEAP_YEAR}-02-29)( 00:00:00([.](0|000|000000))?)?$"
NO_YEAR = "0000"


def as_text(column: Any) -> sa.ColumnElement[str]:
    """``column`` as the text that its database shows."""
    return sa.cast(column, sa.Text().with_variant(sa.String(), "mysql", "mariadb"))


def shown(column: Any, actual: sa.types.TypeEngine) -> sa.ColumnElement[str]:
    """The same for a column that has this type now, so that numbers that differ have texts that differ.

    PostgreSQL shows ``money`` in the manner of a country. MariaDB and MySQL show six digits of a ``FLOAT`` without a
    scale, which are not its cents from 10,000 on: where another number has these digits, all that it is are shown.
    """
    if isinstance(actual, postgresql.MONEY):
        return as_text(sa.cast(column, sa.Numeric()))
    text = as_text(column)
    if isinstance(actual, mysql.FLOAT) and actual.scale is None:
        # Half of the distance to the next number of 24 binary digits. Nought has no logarithm, and its text is right.
        half = sa.func.pow(2, sa.func.floor(sa.func.log2(sa.func.abs(column))) - 24)
        double, says = column + NOUGHT, NOUGHT + sa.type_coerce(text, sa.Double())
        return sa.case((sa.func.abs(says - double) >= half, as_text(double)), else_=text)
    return text


def matches(text: Any, pattern: str, dialect: str) -> Any:
    """Condition of MariaDB, MySQL or PostgreSQL: the text is as the pattern says."""
    return text.regexp_match(pattern if dialect == "postgresql" else pattern.removesuffix("$") + END)


class is_day(FunctionElement):  # noqa: N801  (an SQL function)
    """Condition: the text is a day of the calendar, at midnight if at any time. Never NULL but for NULL."""

    inherit_cache = True
    type = sa.Boolean()


@compiles(is_day)
def _by_pattern(element: is_day, compiler: Any, **options: Any) -> str:
    (text,) = element.clauses
    return compiler.process(
        sa.and_(matches(text, DAY, compiler.dialect.name), sa.func.left(text, 4) != NO_YEAR), **options
    )


@compiles(is_day, "sqlite")
def _by_calendar(element: is_day, compiler: Any, **options: Any) -> str:
    (text,) = element.clauses
    day = sa.func.substr(text, 1, 10)
    # With a number of days to add, date() gives the first of March for the 30th of February.
    midnight = sa.func.substr(text, 11).in_(MIDNIGHTS)
    return compiler.process(
        sa.and_(sa.func.date(day, "+0 days") == day, sa.func.substr(text, 1, 4) != NO_YEAR, midnight), **options
    )
