"""Parts of Dagster that are not public: which ones the package leans on, and that it says why."""

from __future__ import annotations

import re
from pathlib import Path

import classic_cars

PACKAGE = Path(classic_cars.__file__).parent
PRIVATE = re.compile(r"^(from dagster\._[\w.]+ import .+|import dagster\._.+)$")

LEANED_ON = {
    "automation/condition_sensor.py": "from dagster._core.definitions.sensor_definition import SensorExecutionData",
    "instance/event_log.py": "from dagster._core.storage.event_log import SqliteEventLogStorage",
    "instance/home.py": "from dagster._core.instance import InstanceRef",
    "instance/launcher.py": "from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus; "
    "from dagster._grpc.types import ExecuteRunArgs",
    "tables/events.py": "from dagster._core.storage.asset_check_execution_record import "
    "AssetCheckExecutionRecordStatus",
}


def test_these_and_no_others_are_imported_each_with_a_reason() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = path.read_text().splitlines()
        for index, line in enumerate(lines):
            if PRIVATE.match(line.strip()):
                found.setdefault(str(path.relative_to(PACKAGE)), []).append(line.strip())
                assert lines[index - 1].startswith("# "), f"{path}: say above {line!r} why it is needed"
    assert {path: "; ".join(lines) for path, lines in found.items()} == LEANED_ON


def test_what_is_leaned_on_is_there() -> None:
    from dagster._core.definitions.sensor_definition import SensorExecutionData
    from dagster._core.instance import InstanceRef
    from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster._grpc.types import ExecuteRunArgs

    assert SensorExecutionData(skip_message="waits", cursor="1").skip_message == "waits"
    assert callable(InstanceRef.config_defaults)
    assert CheckRunHealthResult(WorkerStatus.RUNNING).status == WorkerStatus.RUNNING
    assert callable(SqliteEventLogStorage.store_event)
    assert callable(LaunchRunContext)
    assert callable(ExecuteRunArgs.get_command_args)
