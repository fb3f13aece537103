"""Files that land in a bucket of a real S3 server, loaded into every kind of store."""

from __future__ import annotations

import gzip
import os
import socket
import time
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.errors import SourceAccessDenied, SourceMissing, SourceUnreachable, StoreConflict
from classic_cars.resources.s3 import S3, LandingBucket
from classic_cars.settings import Settings
from classic_cars.sources.landing import Landing
from classic_cars.stores.base import Store
from classic_cars_shop import api as simulator
from classic_cars_shop.object_store import ObjectStore
from classic_cars_tests.landed import jsonl, ledger, rating
from classic_cars_tests.platform import ask, run
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import PLACES, held, publish, stage

SOURCE = "source/ratings"


@pytest.fixture
def landing(settings: Settings, bucket: str) -> Settings:
    """A store of each kind, with a landing zone in a bucket."""
    return settings.model_copy(update={"landing": f"s3://{bucket}/partners/drop"})


def put(object_store: ObjectStore, landing: Settings, name: str, data: str | bytes) -> None:
    bucket, _, prefix = landing.landing.removeprefix("s3://").partition("/")
    body = data.encode() if isinstance(data, str) else data
    object_store.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)


def loaded(settings: Settings) -> int:
    ran = run(settings, select=[SOURCE])
    assert ran.success, ran.errors
    return ask(settings, "SELECT count(*) FROM source.ratings")[0][0]


@pytest.mark.parametrize(
    "settings",
    ["s3", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in ("duckdb", "folder"))],
    indirect=True,
)
def test_objects_are_taken_in_once(object_store: ObjectStore, landing: Settings):
    assert loaded(landing) == 0
    put(object_store, landing, "a.jsonl", jsonl(rating(), rating(104)))
    put(object_store, landing, "2003/08/b's.jsonl.gz", gzip.compress(jsonl(rating(105)).encode()))
    put(object_store, landing, "_temporary/c.jsonl", jsonl(rating(106)))
    put(object_store, landing, "d.csv", b"\x89PNG")
    put(object_store, landing, "e.csv.gz", gzip.compress(b"x" * 99)[:-9])
    put(object_store, landing, "empty.jsonl", "")
    assert loaded(landing) == 3
    put(object_store, landing, "again.jsonl", jsonl(rating(), rating(104)))
    put(object_store, landing, "a.jsonl", jsonl(rating(), rating(107)))
    assert loaded(landing) == 5
    assert loaded(landing) == 5
    states = sorted((name, state) for name, (state, *_) in ledger(landing).items())
    assert states == [
        ("2003/08/b's.jsonl.gz", "loaded"),
        ("a.jsonl", "loaded"),
        ("again.jsonl", "repeated"),
        ("d.csv", "quarantined"),
        ("e.csv.gz", "quarantined"),
        ("empty.jsonl", "empty"),
    ]


def test_the_shop_drops_its_ratings_there(object_store: ObjectStore, tmp_path: Path, bucket: str):
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(url, scale=0.1, seed=3)
    summary = simulator.advance(url, 4, landing=f"s3://{bucket}/drop")
    found = Landing(f"s3://{bucket}/drop").list().files
    assert summary.ratings > 0
    assert [each.name[:8] for each in found] == ["ratings-"] * len(found)


def test_what_is_wrong_with_a_bucket_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SourceMissing, match="no-such-bucket/drop: there is no such bucket"):
        Landing("s3://no-such-bucket/drop").list()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(SourceAccessDenied, match="S3 denies access"):
        Landing(f"s3://{bucket}/drop").list()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SourceUnreachable, match="S3 request failed"):
        Landing(f"s3://{bucket}/drop").list()


def test_a_bucket_elsewhere_is_reached_as_its_resource_says(
    object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    object_store.client.put_object(Bucket=bucket, Key="drop/a.jsonl", Body=jsonl(rating()).encode())
    s3 = S3(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    @dg.op(required_resource_keys={"landing"})
    def landed(context) -> list[str]:
        return [each.name for each in context.resources.landing.list().files]

    @dg.job(resource_defs={"landing": LandingBucket(location=f"s3://{bucket}/drop", s3=s3)})
    def listing() -> None:
        landed()

    assert listing.execute_in_process().output_for_node("landed") == ["a.jsonl"]


def test_a_bucket_that_is_gone_holds_nobody_up():
    assert S3().get_client().meta.config.retries["total_max_attempts"] == 3
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        host, port = silent.getsockname()
        s3 = S3(
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            read_timeout=0.5,
            connect_timeout=0.5,
            max_attempts=1,
        )
        began = time.monotonic()
        with pytest.raises(SourceUnreachable, match="S3 request failed"):
            Landing("s3://bucket/drop", s3=s3.get_client).list()
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("settings", ["folder", "s3"], indirect=True)
def test_rows_are_not_added_beside_others_that_were_not_seen(store: Store, open_another: Open):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    mine = stage(store, PLACES, [{"place": "Rome", "visitors": 2}], append=True)
    other = open_another()
    publish(other, PLACES, [{"place": "Rome", "visitors": 2}], append=True)
    with pytest.raises(StoreConflict, match="found another writer's append"):
        mine.publish()
    store.release()
    assert [row["place"] for row in held(store, PLACES)] == ["Oslo", "Rome"]
