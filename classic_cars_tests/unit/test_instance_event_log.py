"""The pooled event log stores exactly what Dagster's own does, for several processes, through a kill."""

import inspect
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.base import AssetRecordsFilter
from dagster._core.storage.event_log.sqlite import sqlite_event_log as stock_module

from classic_cars.instance import event_log, open_instance
from classic_cars.instance.event_log import MAX_OPEN_RUNS, PooledSqliteEventLogStorage
from classic_cars.settings import Settings

MONTHS = dg.MonthlyPartitionsDefinition("2003-01-01", end_date="2003-05-01")
RANGE = {"dagster/asset_partition_range_start": "2003-01-01", "dagster/asset_partition_range_end": "2003-03-01"}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ORDERS, COUNTRIES, BROKEN = (dg.AssetKey(["shop", name]) for name in ("orders", "countries", "broken"))
SPAWN = multiprocessing.get_context("spawn")


@dg.asset(key=ORDERS, partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run(), tags={"layer": "test"})
def orders() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 326}, data_version=dg.DataVersion("v1"))


@dg.asset(key=COUNTRIES, check_specs=[dg.AssetCheckSpec("unique", asset=COUNTRIES)])
def countries() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, metadata={"rows": 21})])


@dg.asset(key=BROKEN, check_specs=[dg.AssetCheckSpec("known", asset=BROKEN, blocking=True)], output_required=False)
def broken() -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(passed=False, metadata={"failed": 3}, severity=dg.AssetCheckSeverity.ERROR)


def instance_in(folder: Path, *, pooled: bool) -> dg.DagsterInstance:
    overrides: dict[str, object] = {"telemetry": {"enabled": False}}
    if pooled:
        overrides["event_log_storage"] = {
            "module": "classic_cars.instance.event_log",
            "class": "PooledSqliteEventLogStorage",
            "config": {"base_dir": str(folder / "history" / "runs")},
        }
    folder.mkdir(exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)


def run_everything(instance: dg.DagsterInstance) -> str:
    definitions = dg.Definitions(
        assets=[orders, countries, broken],
        jobs=[dg.define_asset_job("everything", executor_def=dg.in_process_executor)],
    )
    job = definitions.resolve_job_def("everything")
    result = job.execute_in_process(instance=instance, tags=RANGE, run_config=QUIET, raise_on_error=False)
    assert not result.success  # the blocking check failed
    return result.run_id


def plain(event: EventLogEntry) -> tuple[object, ...]:
    """What an event says, without what differs between any two runs: ids, times, process numbers."""
    found = event.get_dagster_event()
    check = found.asset_check_evaluation_data if found.event_type_value == "ASSET_CHECK_EVALUATION" else None
    said = check and (check.asset_check_key.to_user_string(), check.passed, dict(check.metadata), check.severity)
    made = found.step_materialization_data.materialization if found.is_step_materialization else None
    tags = made and {name: value for name, value in (made.tags or {}).items() if "event_id" not in name}
    shape = made and (made.asset_key.to_user_string(), made.partition, dict(made.metadata), sorted(tags))
    return (found.event_type_value, found.step_key, found.asset_key, found.partition, said, shape)


def story(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """Everything about a run that Dagster's own API gives back."""
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(COUNTRIES, "unique"), dg.AssetCheckKey(BROKEN, "known")]
    )
    run = instance.get_run_record_by_id(run_id)
    assert run is not None
    return {
        "events": [plain(event) for event in instance.all_logs(run_id)],
        "assets": sorted(key.to_user_string() for key in instance.get_asset_keys()),
        "partitions": sorted(instance.get_materialized_partitions(ORDERS)),
        "materializations": [
            (record.partition_key, plain(record.event_log_entry))
            for record in instance.fetch_materializations(AssetRecordsFilter(asset_key=ORDERS), limit=100).records
        ],
        "records": {
            record.asset_entry.asset_key.to_user_string(): (
                record.asset_entry.last_run_id == run_id,
                record.asset_entry.last_materialization is not None,
            )
            for record in instance.get_asset_records([ORDERS, COUNTRIES, BROKEN])
        },
        "checks": {key.to_user_string(): record.status.value for key, record in checks.items()},
        "status": run.dagster_run.status.value,
        "steps": sorted((stat.step_key, str(stat.status)) for stat in instance.get_run_step_stats(run_id)),
        "status changes": [
            record.event_log_entry.dagster_event_type
            for record in instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=10).records
        ],
    }


def test_a_run_reads_back_the_same_from_either_class_whichever_wrote_it(tmp_path: Path) -> None:
    stories = {}
    for written_by_pool in (False, True):
        folder = tmp_path / str(written_by_pool)
        with instance_in(folder, pooled=written_by_pool) as writer:
            run_id = run_everything(writer)
            stories[written_by_pool, "writer"] = story(writer, run_id)
            with instance_in(folder, pooled=not written_by_pool) as reader:  # while the writer is still open
                stories[written_by_pool, "other class"] = story(reader, run_id)

    expected = stories[False, "writer"]
    assert all(found == expected for found in stories.values())
    assert expected["assets"] == ["shop/broken", "shop/countries", "shop/orders"]
    assert expected["partitions"] == ["2003-01-01", "2003-02-01", "2003-03-01"]
    assert expected["checks"] == {"shop/countries:unique": "SUCCEEDED", "shop/broken:known": "FAILED"}
    assert expected["status"] == "FAILURE"
    assert expected["status changes"] == [dg.DagsterEventType.RUN_FAILURE]


# -- several writers -------------------------------------------------------------------------------


def report(instance: dg.DagsterInstance, asset: str, number: int) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata={"number": number}))


def numbers(instance: dg.DagsterInstance, asset: str) -> list[int]:
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=10_000, ascending=True).records
    return [int(str(r.asset_materialization.metadata["number"].value)) for r in records if r.asset_materialization]


def write_from_process(folder: Path, asset: str, count: int) -> None:
    with instance_in(folder, pooled=True) as instance:
        for number in range(count):
            report(instance, asset, number)


@pytest.mark.exhaustive
def test_three_processes_writing_the_same_files_lose_nothing_and_keep_their_order(tmp_path: Path) -> None:
    instance_in(tmp_path, pooled=True).dispose()
    assets = ["first", "second", "third"]
    processes = [SPAWN.Process(target=write_from_process, args=(tmp_path, asset, 80)) for asset in assets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    with instance_in(tmp_path, pooled=False) as instance:
        assert {asset: numbers(instance, asset) for asset in assets} == {asset: list(range(80)) for asset in assets}


def test_threads_of_one_process_lose_nothing(tmp_path: Path) -> None:
    with instance_in(tmp_path, pooled=True) as instance:

        def write(asset: str) -> None:
            for number in range(25):
                report(instance, asset, number)

        threads = [threading.Thread(target=write, args=(f"asset_{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert all(numbers(instance, f"asset_{n}") == list(range(25)) for n in range(6))


def test_a_forked_child_opens_its_own_connections_even_while_a_thread_of_its_parent_uses_one(tmp_path: Path) -> None:
    with instance_in(tmp_path, pooled=True) as instance:
        report(instance, "forked", 0)
        storage = instance.event_log_storage
        assert isinstance(storage, PooledSqliteEventLogStorage)
        busy, done = threading.Event(), threading.Event()

        def hold() -> None:
            with storage.index_connection():
                busy.set()
                done.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        assert busy.wait(10)
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            signal.alarm(20)  # ends the child if it waits for a thread it does not have
            try:
                report(instance, "forked", 1)
                storage.dispose()
            except BaseException:
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        done.set()
        holder.join()
        assert status == 0
        report(instance, "forked", 2)
        assert numbers(instance, "forked") == [0, 1, 2]


# -- durability ------------------------------------------------------------------------------------


def write_until_killed(folder: Path, acknowledge: Connection) -> None:
    with instance_in(folder, pooled=True) as instance:
        for number in range(1_000_000):
            report(instance, "killed", number)
            acknowledge.send(number)


def test_every_acknowledged_event_survives_a_kill(tmp_path: Path) -> None:
    receive, send = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=write_until_killed, args=(tmp_path, send))
    process.start()
    send.close()
    while receive.recv() < 60:
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    acknowledged = 60
    while receive.poll():
        try:
            acknowledged = receive.recv()
        except EOFError:
            break

    with instance_in(tmp_path, pooled=False) as instance:
        found = numbers(instance, "killed")
    assert found == list(range(len(found)))
    assert len(found) > acknowledged
    with closing(sqlite3.connect(tmp_path / "history" / "runs" / "index.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- what a page that follows a run sees --------------------------------------------------------------


def write_when_told(folder: Path, run_id: str, orders: Connection) -> None:
    with instance_in(folder, pooled=True) as instance:
        while message := orders.recv():
            instance.event_log_storage.store_event(engine_event(run_id, message))
            orders.send("stored")


def engine_event(run_id: str, message: str = "hello") -> EventLogEntry:
    event = DagsterEvent("ENGINE_EVENT", "job", message=message, event_specific_data=EngineEventData())
    return EventLogEntry(None, 20, "", run_id, 1.0, dagster_event=event)


def test_events_of_a_run_are_seen_while_its_process_keeps_its_files_open(tmp_path: Path) -> None:
    run_id = "run-1"
    here, there = SPAWN.Pipe()
    writer = SPAWN.Process(target=write_when_told, args=(tmp_path, run_id, there))
    writer.start()
    here.send("before")
    assert here.recv() == "stored"

    with instance_in(tmp_path, pooled=True) as instance:
        seen: list[str] = []
        arrived = threading.Event()

        def follow(event: EventLogEntry, _cursor: str) -> None:
            seen.append(event.get_dagster_event().message or "")
            arrived.set()

        cursor = instance.get_records_for_run(run_id).cursor
        instance.watch_event_logs(run_id, cursor, follow)
        here.send("live")
        assert here.recv() == "stored"
        assert arrived.wait(10)
        instance.end_watch_event_logs(run_id, follow)
    here.send("")
    writer.join(30)
    assert seen == ["live"]


# -- connections -----------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[PooledSqliteEventLogStorage]:
    storage = PooledSqliteEventLogStorage(str(tmp_path))
    yield storage
    storage.dispose()


def open_files(folder: Path) -> list[str]:
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except OSError:
            continue
    return sorted(link for link in links if link.startswith(str(folder)))


def test_open_files_are_bounded_however_many_runs_are_read(
    tmp_path: Path, storage: PooledSqliteEventLogStorage
) -> None:
    run_ids = [f"run-{n}" for n in range(3 * MAX_OPEN_RUNS)]
    for run_id in run_ids:
        storage.store_event(engine_event(run_id))
    assert all(len(storage.get_logs_for_run(run_id)) == 1 for run_id in run_ids)
    storage.get_asset_records()
    databases = [Path(file).stem for file in open_files(tmp_path) if file.endswith(".db")]
    assert sorted(databases) == sorted(["index", *run_ids[-MAX_OPEN_RUNS:]])


def test_dispose_closes_every_file_and_a_later_use_opens_them_again(
    tmp_path: Path, storage: PooledSqliteEventLogStorage
) -> None:
    storage.store_event(engine_event("run"))
    assert open_files(tmp_path)
    storage.dispose()
    assert open_files(tmp_path) == []
    assert list(tmp_path.glob("*-wal")) == []  # the last connection tidies up
    storage.store_event(engine_event("run"))
    assert len(storage.get_logs_for_run("run")) == 2


def test_wipe_deletes_what_is_open(storage: PooledSqliteEventLogStorage) -> None:
    storage.store_event(engine_event("run"))
    storage.wipe()
    assert storage.get_logs_for_run("run") == []
    storage.store_event(engine_event("run"))
    assert len(storage.get_logs_for_run("run")) == 1


def test_a_file_replaced_by_another_process_is_opened_anew(
    tmp_path: Path, storage: PooledSqliteEventLogStorage
) -> None:
    storage.store_event(engine_event("run", "old"))
    other = PooledSqliteEventLogStorage(str(tmp_path))
    other.wipe()
    other.store_event(engine_event("run", "new"))
    other.dispose()
    messages = [event.get_dagster_event().message for event in storage.get_logs_for_run("run")]
    assert messages == ["new"]


def test_a_failed_write_is_rolled_back_and_leaves_the_connection_usable(storage: PooledSqliteEventLogStorage) -> None:
    storage.store_event(engine_event("run"))

    def delete_and_fail() -> None:
        with storage.run_connection("run") as connection:
            connection.exec_driver_sql("DELETE FROM event_logs")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    assert len(storage.get_logs_for_run("run")) == 1


def test_a_batch_is_stored_whole_or_not_at_all(storage: PooledSqliteEventLogStorage) -> None:
    storage.store_event(engine_event("run"))
    with storage.run_connection("run") as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON event_logs WHEN (SELECT COUNT(*) FROM event_logs) >= 3 "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    batch = [engine_event("run", f"event {number}") for number in range(3)]
    with pytest.raises(sa.exc.IntegrityError, match="full"):
        storage.store_event_batch(batch)
    assert len(storage.get_logs_for_run("run")) == 1
    storage.store_event_batch(batch[:2])
    assert [event.get_dagster_event().message for event in storage.get_logs_for_run("run")][1:] == [
        "event 0",
        "event 1",
    ]


def test_the_plan_and_the_months_of_a_step_are_stored_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    stored = PooledSqliteEventLogStorage.store_event_batch
    monkeypatch.setattr(
        PooledSqliteEventLogStorage,
        "store_event_batch",
        lambda self, events: batches.append(len(events)) or stored(self, events),
    )
    with open_instance(Settings(home=tmp_path)) as instance:
        assert dg.materialize([orders], instance=instance, tags=RANGE, run_config=QUIET).success
        assert len(instance.get_materialized_partitions(ORDERS)) == 3
    assert sorted(batches)[-2:] == [3, 3]


def asset_entries(folder: Path, events: list[EventLogEntry], sizes: list[int]) -> list[tuple[object, ...]]:
    """What the index holds of assets after these events were stored in batches of these sizes, one after the other."""
    storage, left = PooledSqliteEventLogStorage(str(folder)), list(events)
    for size in sizes:
        storage.store_event_batch(left[:size])
        del left[:size]
    storage.dispose()
    with closing(sqlite3.connect(folder / "index.db")) as index:
        return index.execute(
            "SELECT asset_key, last_materialization, last_run_id, last_materialization_timestamp, asset_details "
            "FROM asset_keys ORDER BY 1"
        ).fetchall()


def test_assets_of_a_batch_are_what_they_are_event_by_event(tmp_path: Path) -> None:
    with instance_in(tmp_path / "runs", pooled=True) as instance:
        found = [instance.all_logs(run_everything(instance)) for _ in range(2)]
    both = [event for one in found for event in one]
    mixed = [event for pair in zip(*found, strict=True) for event in pair]  # of two runs, turn by turn
    begun = [*found[0], *(event for event in found[1] if "PLANNED" in event.get_dagster_event().event_type_value)]
    for number, events in enumerate((both, mixed, both[::-1], begun)):
        one_by_one = asset_entries(tmp_path / f"{number} one by one", events, [1] * len(events))
        assert len(one_by_one) == 3
        for sizes in ([len(events)], [7] * len(events)):
            assert asset_entries(tmp_path / f"{number} {sizes[0]}", events, sizes) == one_by_one


def test_ctrl_c_at_any_call_while_an_event_is_stored_leaves_the_log_whole(
    storage: PooledSqliteEventLogStorage,
) -> None:
    def store(signal_at: int | None) -> int:
        calls = 0

        def count(_frame: FrameType, event: str, _arg: object) -> None:
            nonlocal calls
            calls += event == "call"
            if calls == signal_at:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

        sys.setprofile(count)
        try:
            storage.store_event(engine_event(run_id))
        finally:
            sys.setprofile(None)
        return calls

    run_id = "00000000-0000-0000-0000-00000000000a"
    store(None)
    every_call = store(None)
    assert every_call > 100
    stored, points = 2, range(1, every_call, 5)
    for point in points:
        with pytest.raises(KeyboardInterrupt):
            store(point)
        began = time.monotonic()
        store(None)
        assert time.monotonic() - began < 5.0, f"call {point}"
        stored += 1
    assert stored <= len(storage.get_logs_for_run(run_id)) <= stored + len(points)


def test_the_write_ahead_log_is_synced_at_checkpoints_only(storage: PooledSqliteEventLogStorage) -> None:
    with storage.index_connection() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL


# -- guards: what this leans on in Dagster -----------------------------------------------------------


def test_dagster_still_asks_the_overridden_methods_for_its_connections(
    storage: PooledSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.store_event(engine_event("run"))
    storage.get_asset_records()
    made = []
    monkeypatch.setattr(stock_module, "create_engine", lambda *a, **k: made.append(a) or pytest.fail("stock engine"))
    monkeypatch.setattr(event_log, "_engine", lambda url: made.append(url) or pytest.fail("pool made a second engine"))
    for _ in range(5):
        storage.store_event(engine_event("run"))
        storage.get_asset_records()
    assert len(storage.get_logs_for_run("run")) == 6
    assert made == []


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("run_connection", ["self", "run_id"]),
        ("index_connection", ["self"]),
        ("store_event", ["self", "event"]),
        ("store_event_batch", ["self", "events"]),
        ("has_table", ["self", "table_name"]),
        ("has_secondary_index", ["self", "name"]),
        ("_has_asset_key_col_on_connection", ["self", "conn", "column_name"]),
        ("_store_asset_event", ["self", "conn", "event", "event_id"]),
        ("wipe", ["self"]),
        ("dispose", ["self"]),
        ("path_for_shard", ["self", "run_id"]),
        ("conn_string_for_shard", ["self", "shard_name"]),
        ("delete_events", ["self", "run_id"]),
        ("from_config_value", ["inst_data", "config_value"]),
    ],
)
def test_the_stock_class_still_has_what_is_overridden_or_called(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(SqliteEventLogStorage, method)).parameters) == parameters


def test_the_index_is_still_called_index() -> None:
    assert stock_module.INDEX_SHARD_NAME == event_log.INDEX_SHARD
