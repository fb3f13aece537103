"""The sensor that has tables read and made, as their automation conditions say (``automation/follow.py``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dagster as dg

# What a sensor's evaluation returns has no public name, and one that waits has to return it.
from dagster._core.definitions.sensor_definition import SensorExecutionData

from classic_cars.automation.follow import is_read, is_small, upstream
from classic_cars.automation.history import FOLLOWS, under_way
from classic_cars.automation.lingering import looks
from classic_cars.automation.refusals import refused_months
from classic_cars.automation.requests import RANGES, run_requests
from classic_cars.automation.staleness import recorded
from classic_cars.errors import ClassicCarsError
from classic_cars.tables.partitions import known_months
from classic_cars.tables.recomputation import made_with
from classic_cars.tables.run_tags import STAY, UNCHANGED_MONTHS

SENSOR = "tables_automation_condition_sensor"
#: Less than the five seconds of Dagster's own round, so that every round counts.
TICK_SECONDS = 4
#: The conditions look at Dagster's event log, and are evaluated when it has something new; at least so often.
EVALUATE_SECONDS = 60.0

#: From the months that are about to be read, by address, to the pairs of them between which orders moved.
Moved = Callable[[Mapping[str, Collection[str]]], Collection[tuple[str, str]]]


def _is_news(record: logging.LogRecord) -> bool:
    """A filter of logs: without what Dagster says at every tick, whether anything changed or not."""
    return "refetching asset records" not in str(record.msg)


class ConditionSensor(dg.AutomationConditionSensorDefinition):
    """Dagster's sensor for automation conditions, that asks for few runs and lets one change end before the next.

    Otherwise a table could be made from an input of before, be published after the input of now, and look newer than
    it is. Without anything new in Dagster's event log a tick evaluates nothing.
    """

    def __init__(self, name: str, moved: Moved, **rest: Any) -> None:
        super().__init__(
            name,
            minimum_interval_seconds=TICK_SECONDS,
            run_tags={FOLLOWS: name, UNCHANGED_MONTHS: STAY},
            emit_backfills=False,
            use_user_code_server=True,
            **rest,
        )
        self._moved = moved
        self._evaluated: tuple[Any, ...] = ()
        self._evaluated_at = 0.0

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        context.log.addFilter(_is_news)
        instance, waiting, found = context.instance, "", self._evaluated
        for _ in looks():
            waiting = under_way(instance, FOLLOWS)
            found = (context.cursor, instance.event_log_storage.get_maximum_record_id(), *known_months(instance))
            if not waiting and (found != self._evaluated or time.monotonic() > self._evaluated_at + EVALUATE_SECONDS):
                break
        else:
            said = f"waits for run {waiting}, which makes what changed before" if waiting else "nothing new"
            return SensorExecutionData(skip_message=said, cursor=context.cursor)
        data = super().evaluate_tick(context)
        self._evaluated, self._evaluated_at = (data.cursor, *found[1:]), time.monotonic()
        requests = self._requests(context, data.run_requests or [])
        return SensorExecutionData(
            run_requests=[
                each.with_replaced_attrs(asset_check_keys=self._checks(context, each.asset_selection or []))
                for each in requests
            ],
            skip_message=data.skip_message,
            cursor=data.cursor,
            automation_condition_evaluations=data.automation_condition_evaluations,
        )

    def _requests(self, context: dg.SensorEvaluationContext, wanted: Sequence[dg.RunRequest]) -> list[dg.RunRequest]:
        if not wanted or context.repository_def is None:
            return []
        graph, instance = context.repository_def.asset_graph, context.instance
        record = recorded(instance, graph)
        with_months = {key for each in wanted if each.partition_key for key in each.asset_selection or []}
        made_of = {parent for key in with_months for parent in upstream(graph, key)}
        refused = refused_months(instance, graph, record)
        apart = {month for key in with_months | made_of for month in refused.get(key.to_user_string(), ())}
        at_most = 1 if is_small(instance) else RANGES

        def asked(moved: Collection[tuple[str, str]]) -> list[dg.RunRequest]:
            return run_requests(
                wanted, record.months, self.run_tags, each_time=made_of, at_most=at_most, moved=moved, apart=apart
            )

        requests = asked(())
        # Of a row that moved, a run that reads one of its months and not the other is refused.
        return asked(self._moves(context, wanted)) if len(requests) > 1 else requests

    def _moves(
        self, context: dg.SensorEvaluationContext, wanted: Sequence[dg.RunRequest]
    ) -> Collection[tuple[str, str]]:
        months: dict[str, set[str]] = {}
        for each in wanted:
            for key in each.asset_selection or []:
                if each.partition_key and is_read(key):
                    months.setdefault(key.to_user_string(), set()).add(each.partition_key)
        try:
            return self._moved(months)
        except Exception as error:  # without it there is a run more, which a check refuses
            said = str(error) if isinstance(error, ClassicCarsError) else type(error).__name__
            context.log.warning("whether orders moved between months is not known: %s", said)
            return ()

    @staticmethod
    def _checks(context: dg.SensorEvaluationContext, keys: Sequence[dg.AssetKey]) -> list[dg.AssetCheckKey]:
        """The tables' own checks; the nightly ones have their schedules."""
        if context.repository_def is None:
            raise TypeError("a sensor is evaluated with its definitions")
        return sorted(made_with(context.repository_def.asset_graph.get_check_keys_for_assets(set(keys))))


def condition_sensor(layers: Sequence[str], moved: Moved, status: dg.DefaultSensorStatus) -> ConditionSensor:
    """The sensor that has tables read and made."""
    return ConditionSensor(
        SENSOR,
        moved,
        target=dg.AssetSelection.groups(*layers),
        default_status=status,
        description="Materializes tables and months whose inputs changed; never past a failed blocking check.",
    )
