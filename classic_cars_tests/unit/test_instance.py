"""However Dagster is started, it opens the one instance of CLASSIC_CARS_HOME."""

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._cli.utils import get_possibly_temporary_instance_for_cli
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from classic_cars.errors import SettingsError, StoreUnavailable
from classic_cars.instance import (
    STORE_POOL,
    LocalRunLauncher,
    PooledInstance,
    StockInstance,
    fail_dead_runs,
    home,
    open_instance,
)
from classic_cars.instance.event_log import PooledSqliteEventLogStorage
from classic_cars.processes import CLOCK_STEP_SECONDS
from classic_cars.settings import Settings
from classic_cars_tests.programs import ended_process

PROJECT = Path(__file__).parents[2]
KEY = dg.AssetKey("seen")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("CLASSIC_CARS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return Settings()


def leave_a_trace(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY))


def traces(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(KEY, limit=10).records)


def test_everything_lies_in_the_home_and_the_event_log_is_pooled(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert isinstance(instance, PooledInstance)
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
        folders = [
            instance.root_directory,
            instance.event_log_storage.path_for_shard("index"),
            instance.compute_log_manager.get_captured_local_path(["run"], "out"),  # type: ignore[attr-defined]
            str(instance.run_storage._conn_string).removeprefix("sqlite:///"),  # type: ignore[attr-defined]
            str(instance.schedule_storage._conn_string).removeprefix("sqlite:///"),  # type: ignore[union-attr]
        ]
        assert all(Path(folder).is_relative_to(settings.dagster_home) for folder in folders)


def test_the_given_settings_win_over_the_environment(settings: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other")
    with open_instance(other) as instance:
        assert Path(instance.root_directory) == other.dagster_home
    assert not settings.home.exists()


def test_plain_dagster_in_the_project_folder_opens_the_same_instance(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(settings) as instance:
        leave_a_trace(instance)
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", project)
    monkeypatch.chdir(project)
    with get_possibly_temporary_instance_for_cli("dagster dev") as instance:
        assert traces(instance) == 1
    assert [path.name for path in project.iterdir()] == ["dagster.yaml"]


def test_dagster_home_at_the_project_folder_opens_the_same_instance(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(settings) as instance:
        leave_a_trace(instance)
    monkeypatch.setenv("DAGSTER_HOME", str(PROJECT))
    with dg.DagsterInstance.get() as instance:
        assert traces(instance) == 1


def test_another_process_opens_the_instance_from_its_reference(settings: Settings) -> None:
    with open_instance(settings) as instance, dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        leave_a_trace(instance)
        assert isinstance(other, PooledInstance)
        assert traces(other) == 1


def test_the_stock_class_is_one_word_in_dagster_yaml_away_and_reads_the_same_files(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(settings) as instance:
        leave_a_trace(instance)
    text = (PROJECT / "dagster.yaml").read_text().replace("class: PooledInstance", "class: StockInstance")
    (tmp_path / "dagster.yaml").write_text(text)
    monkeypatch.setattr(home, "config_folder", lambda: tmp_path)
    with open_instance(settings) as instance:
        assert type(instance) is StockInstance
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert traces(instance) == 1
        leave_a_trace(instance)
    monkeypatch.undo()
    with open_instance(settings) as instance:
        assert traces(instance) == 2


def test_a_storage_named_in_dagster_yaml_replaces_the_default_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    config["storage"] = {"sqlite": {"base_dir": str(tmp_path / "elsewhere")}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(home, "config_folder", lambda: tmp_path)
    with open_instance(settings) as instance:
        leave_a_trace(instance)
    assert (tmp_path / "elsewhere" / "history" / "runs" / "index.db").exists()


def test_an_ephemeral_instance_leaves_nothing_behind(settings: Settings) -> None:
    with open_instance(settings, ephemeral=True) as instance:
        leave_a_trace(instance)
        assert instance.is_ephemeral
    assert not settings.home.exists()


def test_the_instance_is_closed_when_its_user_fails(settings: Settings) -> None:
    def fail() -> None:
        with open_instance(settings) as instance:
            leave_a_trace(instance)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(settings.dagster_home.rglob("index.db-wal")) == []


def test_telemetry_is_off_and_the_users_home_stays_empty(settings: Settings, tmp_path: Path) -> None:
    with open_instance(settings) as instance:
        assert not instance.telemetry_enabled
    assert not (tmp_path / "user").exists()


def test_without_dagster_yaml_the_error_says_where_it_was_sought(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "__file__", str(tmp_path / "site-packages" / "classic_cars" / "instance" / "home.py"))
    monkeypatch.setattr(home.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(SettingsError, match=r"dagster\.yaml is neither in .*site-packages nor in .*share/classic-cars"):
        home.config_folder()


def test_a_module_import_opens_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "CLASSIC_CARS_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "user")}
    subprocess.run([sys.executable, "-c", "import classic_cars.instance"], check=True, env=environment, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- the pool that serializes writers of the store ------------------------------------------------------


def test_the_store_pool_has_one_place_before_the_first_run_asks_for_it(settings: Settings) -> None:
    with open_instance(settings) as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits == {STORE_POOL: 1}
        granularity = instance.get_concurrency_config().pool_config.pool_granularity
        assert granularity is not None
        assert granularity.value == "run"


def test_a_limit_that_was_set_by_hand_is_kept(settings: Settings) -> None:
    with open_instance(settings) as instance:
        instance.event_log_storage.set_concurrency_slots(STORE_POOL, 2)
    with open_instance(settings) as instance:
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()} == {STORE_POOL: 2}


def test_a_run_of_the_command_line_counts_against_the_pool(settings: Settings) -> None:
    @dg.asset(pool=STORE_POOL)
    def writes() -> None: ...

    definitions = dg.Definitions(
        assets=[writes], jobs=[dg.define_asset_job("job", executor_def=dg.in_process_executor)]
    )
    with open_instance(settings) as instance:
        result = definitions.resolve_job_def("job").execute_in_process(instance=instance)
        concurrency = result.dagster_run.run_op_concurrency
    assert concurrency is not None
    assert concurrency.all_pools == {STORE_POOL}


# -- runs whose process died ------------------------------------------------------------------------


def health(instance: dg.DagsterInstance, *pids: int) -> WorkerStatus:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    for pid in pids:
        instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    return launcher.check_run_worker_health(run).status


@pytest.mark.parametrize(
    ("pids", "expected"),
    [
        ((), WorkerStatus.RUNNING),
        ((os.getpid(),), WorkerStatus.RUNNING),
        (("ended",), WorkerStatus.FAILED),
        (("ended", os.getpid()), WorkerStatus.RUNNING),
    ],
    ids=["not known yet", "alive", "ended", "one of two alive"],
)
def test_a_run_is_dead_when_none_of_its_processes_is_left(
    settings: Settings, pids: tuple[object, ...], expected: WorkerStatus
) -> None:
    numbers = [ended_process() if pid == "ended" else int(str(pid)) for pid in pids]
    with open_instance(settings) as instance:
        assert health(instance, *numbers) is expected


def test_a_process_that_has_the_number_of_one_that_is_gone_is_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the machine, when numbers are given out again."""
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() + CLOCK_STEP_SECONDS + 1)
    with open_instance(settings) as instance:
        assert health(instance, os.getpid()) is WorkerStatus.FAILED
        (run,) = instance.get_runs()
        assert not instance.run_launcher.terminate(run.run_id)


def test_a_run_that_ended_while_it_was_looked_for_stays_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(settings) as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        instance.report_engine_event("Started process for run", run, EngineEventData.in_process(ended_process()))
        before = instance.get_runs
        monkeypatch.setattr(instance, "get_runs", lambda *asked: (before(*asked), ended(instance, run))[0])
        fail_dead_runs(instance)
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.SUCCESS


def ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
    instance.report_dagster_event(event, run.run_id)


def test_a_run_of_a_command_is_told_to_stop_as_by_its_keyboard(settings: Settings) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    try:
        with open_instance(settings) as instance:
            assert health(instance, os.getpid()) is WorkerStatus.RUNNING
            (run,) = instance.get_runs()
            assert instance.run_launcher.terminate(run.run_id)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == [signal.SIGINT]


def test_a_dead_run_fails_and_leaves_the_pool_when_the_daemon_looks(settings: Settings) -> None:
    with open_instance(settings) as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        instance.report_engine_event("Started process for run", run, EngineEventData.in_process(ended_process()))
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        monitor_started_run(instance, None, record, logging.getLogger("daemon"))  # type: ignore[arg-type]
        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.status is dg.DagsterRunStatus.FAILURE
        reason = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[0].message
        assert "ended without finishing the run" in reason


def test_a_dead_run_fails_when_the_command_line_begins_another(settings: Settings) -> None:
    with open_instance(settings) as instance:
        dead, alive = (create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED) for _ in range(2))
        for run, pid in ((dead, ended_process()), (alive, os.getpid())):
            instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
        fail_dead_runs(instance)
        found = {run.run_id: run.status for run in instance.get_runs()}
        assert found == {dead.run_id: dg.DagsterRunStatus.FAILURE, alive.run_id: dg.DagsterRunStatus.STARTED}


def test_the_process_of_a_real_run_is_found(settings: Settings) -> None:
    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        launcher = context.instance.run_launcher
        assert isinstance(launcher, LocalRunLauncher)
        assert [each.pid for each in launcher._processes(context.run_id)] == [os.getpid()]

    @dg.job(executor_def=dg.in_process_executor)
    def job() -> None:
        look()

    with open_instance(settings) as instance:
        assert job.execute_in_process(instance=instance).success
        assert instance.run_monitoring_enabled
        assert instance.run_launcher.supports_check_run_worker_health


@pytest.mark.parametrize("damage", [lambda held: held[: len(held) // 2], lambda held: b"\xff" * len(held)])
def test_damaged_files_are_said_to_be_damaged_and_can_be_moved_away(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    settings = Settings(home=tmp_path)
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("any", ["2003-01"])
    file = settings.dagster_home / "history" / "runs" / "index.db"
    file.write_bytes(damage(file.read_bytes()))
    advice = r"files are damaged .*move this folder away and run again.* are whole"
    with pytest.raises(StoreUnavailable, match=advice), open_instance(settings) as instance:
        instance.get_dynamic_partitions("any")
    settings.dagster_home.rename(tmp_path / "away")
    with open_instance(settings) as instance:
        assert instance.get_dynamic_partitions("any") == []


@pytest.mark.parametrize("damaged", ["'\"', '!'", "'materialization\":', 'materializatiom\":'"])
def test_an_event_that_is_no_longer_what_was_written_is_damage_and_is_not_quoted(tmp_path: Path, damaged: str) -> None:
    settings, key = Settings(home=tmp_path), dg.AssetKey(["customers"])
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
    with sqlite3.connect(settings.dagster_home / "history" / "runs" / "index.db") as history:
        history.execute(f"UPDATE asset_keys SET last_materialization = replace(last_materialization, {damaged})")
    advice = r"files are damaged \(an event is no longer what was written\); .*move this folder away and run again"
    with pytest.raises(StoreUnavailable, match=advice) as told, open_instance(settings) as instance:
        instance.get_asset_records([key])
    assert "customers" not in str(told.value)
