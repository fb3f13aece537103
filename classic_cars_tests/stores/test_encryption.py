"""Server-side encryption, against moto's S3, which remembers how each object was asked to be encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from classic_cars.errors import SettingsError, StoreError
from classic_cars.settings import Settings, load_settings
from classic_cars.stores import open_store
from classic_cars_tests.stores.tables import FIRST_QUARTER, SALES, held, publish, sale

KEY_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="encrypted")
    yield "encrypted"
    server.stop()


def lake(tmp_path: Path, bucket: str, encryption: str) -> Settings:
    return Settings(home=tmp_path, store="iceberg", warehouse=f"s3://{bucket}/lake", s3_encryption=encryption)


def test_every_file_is_encrypted_with_the_key_of_the_setting(tmp_path: Path, bucket: str):
    store = open_store(lake(tmp_path, bucket, f"aws:kms:{KEY_ID}"))
    rows = [sale(1, "2004-01-31"), sale(2, "2004-02-01")]
    publish(store, SALES, rows, FIRST_QUARTER)
    assert held(store, SALES) == rows
    store.end_run()
    s3 = boto3.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert {Path(key).suffix for key in keys} == {".parquet", ".avro", ".json"}
    for key in keys:
        found = s3.head_object(Bucket=bucket, Key=key)
        assert (found.get("ServerSideEncryption"), found.get("SSEKMSKeyId")) == ("aws:kms", KEY_ID), key


def test_aes256_is_the_buckets_own_business_and_is_checked(tmp_path: Path, bucket: str):
    with pytest.raises(StoreError, match="asks for AES256; set the bucket's default encryption"):
        open_store(lake(tmp_path, bucket, "AES256")).begin_run("a test")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    boto3.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    open_store(lake(tmp_path, bucket, "AES256")).begin_run("a test")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("CLASSIC_CARS_S3_ENCRYPTION", "aws:kms:", "expected none, AES256 or aws:kms:<key id>"),
        ("CLASSIC_CARS_S3_ENCRYPTION", "rot13", "expected none, AES256 or aws:kms:<key id>"),
        ("CLASSIC_CARS_WAREHOUSE", "gs://bucket", "expected s3://bucket/prefix or a folder"),
        ("CLASSIC_CARS_WAREHOUSE", "s3://", "with the name of the bucket"),
        ("CLASSIC_CARS_STORE", "paper", "'duckdb' or 'iceberg'"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as refused:
        load_settings()
    assert problem in str(refused.value)


def test_a_rest_catalog_needs_an_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLASSIC_CARS_STORE", "iceberg")
    monkeypatch.setenv("CLASSIC_CARS_CATALOG", "rest")
    with pytest.raises(SettingsError, match="CLASSIC_CARS_CATALOG_URI"):
        load_settings()
