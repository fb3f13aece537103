"""What people read of a failure: the platform's own words, and of any other error its type alone."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import duckdb
import pytest

from classic_cars.errors import StoreError, StoreUnreachable
from classic_cars.serving.incident import failed_attempts, incident_report
from classic_cars.tables.failures import UNKNOWN, reported

RAW = "could not convert string to float: 'Jane Doe'"


def raw() -> None:
    raise ValueError(RAW)


def own() -> None:
    raise StoreError("store.duckdb: cannot be read")


def own_of_raw() -> None:
    try:
        raw()
    except ValueError as error:
        raise StoreUnreachable("s3://lake: unreachable") from error


def described() -> None:
    raise dg.Failure("a description")


@pytest.mark.parametrize(
    ("fails", "in_resource", "said"),
    [
        (raw, False, f"ValueError, {UNKNOWN}"),
        (raw, True, f"ValueError, {UNKNOWN}"),
        (own, False, "store.duckdb: cannot be read"),
        (own, True, "store.duckdb: cannot be read"),
        (own_of_raw, False, "s3://lake: unreachable"),
        (own_of_raw, True, "s3://lake: unreachable"),
        (described, False, "a description"),
    ],
)
def test_a_failure_is_told_in_the_platforms_words_or_by_its_type(
    fails: Callable[[], None], in_resource: bool, said: str
) -> None:
    @dg.resource
    def store() -> None:
        if in_resource:
            fails()

    @dg.asset(required_resource_keys={"store"})
    def table() -> None:
        fails()

    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([table], resources={"store": store}, instance=instance, raise_on_error=False)
        told = incident_report(instance, ran.run_id)
        status = failed_attempts(instance, [table.key])
    assert told.first is not None
    assert told.first.what.endswith(f": {said}")
    assert status == {table.key: said}


@pytest.mark.parametrize(
    ("question", "secret", "said"),
    [
        ("""SELECT strptime('John Smith, 4 Elm St', '%Y')""", "Elm", "raised in "),
        ("""SELECT '{"email": "jane@shop.example'::JSON""", "jane", "Malformed JSON"),
        ("""SELECT regexp_matches('x', '(Jane Doe')""", "Jane", "raised in "),
        ("""SELECT 'Bob O''Neil 0171'::INTEGER""", "Neil", "Could not convert"),
        ("""SELECT name FROM nowhere""", "LINE 2", "nowhere does not exist"),
    ],
)
def test_an_engines_error_says_what_it_is_and_nothing_of_a_row(question: str, secret: str, said: str) -> None:
    with pytest.raises(duckdb.Error) as caught:
        duckdb.sql(question).fetchall()
    found = reported("staging/customers", caught.value)
    assert isinstance(found, dg.Failure)
    assert said in str(found.description)
    assert secret not in str(found.description)
