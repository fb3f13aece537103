"""Spark sessions that AWS starts: the calls, against the service models of the boto3 that is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from classic_cars.errors import EngineUnreachable, StoreAccessDenied, StoreError
from classic_cars.stores.iceberg.engines import managed
from classic_cars.stores.iceberg.engines.managed import EMRServerless, Glue, Managed, remote_of
from classic_cars.stores.iceberg.engines.spark_session import Server

ROLE = "arn:aws:iam::123456789012:role/spark"
APPLICATION, SESSION, TOKEN = "00abc123", "s-1", "t=o;k/en"
NAMED = {"applicationId": APPLICATION, "sessionId": SESSION}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "POLL_SECONDS", 0)


@contextmanager
def stubbed(service: str) -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(service, region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def emr_session(state: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "session": {
            **NAMED,
            "arn": "arn:aws:emr-serverless:eu-central-1:123456789012:/applications/00abc123/sessions/s-1",
            "state": state,
            "stateDetails": "as asked",
            "releaseLabel": "emr-8.0.0",
            "executionRoleArn": ROLE,
            "createdBy": ROLE,
            "createdAt": now,
            "updatedAt": now,
        }
    }


def emr_endpoint(token: str, life: timedelta) -> dict[str, Any]:
    expires = datetime.now(UTC) + life
    return {**NAMED, "endpoint": "https://s-1.example.com", "authToken": token, "authTokenExpiresAt": expires}


def start_emr(stub: Stubber) -> None:
    started = {**NAMED, "arn": emr_session("STARTED")["session"]["arn"]}
    asked = {
        "applicationId": APPLICATION,
        "clientToken": ANY,
        "executionRoleArn": ROLE,
        "idleTimeoutMinutes": 15,
        "name": "classic-cars",
    }
    stub.add_response("start_session", started, asked)


def test_emr_serverless_starts_a_session_renews_its_token_and_ends_it():
    with stubbed("emr-serverless") as (client, stub):
        remote = Managed(EMRServerless(APPLICATION, {"role": ROLE}, client))
        start_emr(stub)
        for state in ("SUBMITTED", "STARTING", "STARTED"):
            stub.add_response("get_session", emr_session(state), NAMED)
        stub.add_response("get_session_endpoint", emr_endpoint(TOKEN, timedelta(hours=1)), NAMED)
        address = "sc://s-1.example.com:443/;use_ssl=true;x-aws-proxy-auth=t%3Do%3Bk%2Fen"
        assert remote.url() == address
        assert remote.url() == address  # as long as it is good
        assert TOKEN not in repr(remote._endpoint)
        assert remote.redacted == f"emr-serverless://{APPLICATION}"
        stub.add_response("terminate_session", NAMED, NAMED)
        remote.close()
        remote.close()


def test_a_token_that_soon_expires_is_renewed():
    with stubbed("emr-serverless") as (client, stub):
        remote = Managed(EMRServerless(APPLICATION, {"role": ROLE}, client))
        start_emr(stub)
        stub.add_response("get_session", emr_session("IDLE"), NAMED)
        stub.add_response("get_session_endpoint", emr_endpoint("old", timedelta(seconds=2)), NAMED)
        assert remote.url().endswith("=old")
        assert remote.url().endswith("=old")  # not again for each question, however short it lives
        time.sleep(1.2)
        stub.add_response("get_session_endpoint", emr_endpoint("late", timedelta(minutes=25)), NAMED)
        assert remote.url().endswith("=late")
        moment = datetime.now(UTC) + timedelta(minutes=15)
        assert remote._renew == pytest.approx(moment, abs=timedelta(seconds=5))


def test_after_a_session_that_was_lost_or_failed_comes_another_one():
    with stubbed("emr-serverless") as (client, stub):
        remote = Managed(EMRServerless(APPLICATION, {"role": ROLE}, client))
        for state in ("FAILED", "STARTED"):
            start_emr(stub)
            stub.add_response("get_session", emr_session(state), NAMED)
            if state == "FAILED":
                stub.add_client_error("terminate_session", "ValidationException")
                with pytest.raises(EngineUnreachable, match=r"^emr-serverless://00abc123: the session is FAILED"):
                    remote.url()
        stub.add_response("get_session_endpoint", emr_endpoint(TOKEN, timedelta(hours=1)), NAMED)
        assert remote.url()
        stub.add_client_error("terminate_session", "ResourceNotFoundException")
        remote.close()  # as the engine does when the session is lost
        start_emr(stub)
        stub.add_response("get_session", emr_session("IDLE"), NAMED)
        stub.add_response("get_session_endpoint", emr_endpoint("other", timedelta(hours=1)), NAMED)
        assert remote.url().endswith("=other")


def test_what_aws_refuses_is_said():
    with stubbed("emr-serverless") as (client, stub):
        remote = Managed(EMRServerless(APPLICATION, {"role": ROLE}, client))
        stub.add_client_error("start_session", "AccessDeniedException")
        with pytest.raises(StoreAccessDenied, match=r"AccessDeniedException.*docs/aws.md"):
            remote.url()
        stub.add_client_error("start_session", "ThrottlingException")
        with pytest.raises(EngineUnreachable, match="ThrottlingException"):
            remote.url()
        stub.add_client_error("start_session", "ValidationException")
        with pytest.raises(StoreError, match=r"ValidationException\); check CLASSIC_CARS_SPARK_REMOTE") as caught:
            remote.url()
        assert not caught.value.retryable
    client = boto3.client("emr-serverless", region_name="eu-central-1")
    with pytest.raises(StoreError, match=r"ParamValidationError.*executionRoleArn") as caught:
        Managed(EMRServerless(APPLICATION, {"role": "short"}, client)).url()
    assert not caught.value.retryable


def test_without_a_region_the_setting_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    remote = remote_of(f"glue://?role={ROLE}")
    with pytest.raises(StoreError, match=r"^glue://: AWS cannot be asked \(NoRegionError\)"):
        remote.url()


def test_glue_starts_a_session_of_spark_connect():
    with stubbed("glue") as (client, stub):
        remote = Managed(Glue({"role": ROLE, "workers": "10", "worker_type": "G.2X"}, client))
        asked = {
            "Id": ANY,
            "Role": ROLE,
            "Command": {"Name": "glueetl", "PythonVersion": "3"},
            "SessionType": "SPARK_CONNECT",
            "IdleTimeout": 15,
            "NumberOfWorkers": 10,
            "WorkerType": "G.2X",
        }
        stub.add_response("create_session", {"Session": {"Id": SESSION, "Status": "PROVISIONING"}}, asked)
        for status in ("PROVISIONING", "READY"):
            stub.add_response("get_session", {"Session": {"Id": SESSION, "Status": status}}, {"Id": SESSION})
        endpoint = {"Url": "sc://glue.example.com:443", "AuthToken": "t"}
        endpoint["AuthTokenExpirationTime"] = datetime.now(UTC) + timedelta(hours=1)
        stub.add_response("get_session_endpoint", {"SparkConnect": endpoint}, {"SessionId": SESSION})
        assert remote.url() == "sc://glue.example.com:443/;use_ssl=true;x-aws-proxy-auth=t"
        stub.add_response("stop_session", {"Id": SESSION}, {"Id": SESSION})
        remote.close()


def test_addresses():
    assert remote_of("sc://host:15002/;token=x") == Server("sc://host:15002/;token=x")
    assert remote_of("sc://host:15002/;token=x").redacted == "sc://host:15002"
    with pytest.raises(StoreError, match=r"found no role, expected glue://\?role=ARN"):
        remote_of("glue://?workers=2")
    with pytest.raises(StoreError, match="found workers=many, expected a number from 2"):
        remote_of(f"glue://?role={ROLE}&workers=many")
    with pytest.raises(StoreError, match="found no application"):
        remote_of(f"emr-serverless://?role={ROLE}")
