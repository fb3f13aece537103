"""Tables follow their inputs: the condition under which a table is made anew, and the sensor that asks for it.

A table is made again when one of its inputs was, for the months that changed, but never past a failed blocking
check. Everything that is to be made at one moment goes into one run, instead of one for each month.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster import AutomationCondition as When
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.sensor_definition import SensorExecutionData

from classic_cars.automation.requests import FOLLOWS, READS, under_way
from classic_cars.months import month_of
from classic_cars.tables.live_agreement import CHECK
from classic_cars.tables.run_tags import range_tags
from classic_cars.tables.table import Catalog, Table

SENSOR = "tables_follow_their_inputs"
#: The one part of a table without months.
WHOLE = ""
#: Less than the five seconds of Dagster's own round, so that every round counts.
TICK_SECONDS = 4


class RequestedNow(dg.AutomationCondition):
    """True for what this tick already asks for: it is made first, in the same run.

    Dagster's own ``will_be_requested`` leaves out inputs that have months when the table has none, and the reverse.
    """

    @property
    def name(self) -> str:
        return "requested by this tick"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        requested = context.request_subsets_by_key.get(context.key) or context.get_empty_subset()
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(requested))


class BehindAtFirst(dg.AutomationCondition):
    """True for what is missing or older than an input, when it is asked for the first time.

    Later on, changes are seen as they happen. What happened before, nobody saw.
    """

    @property
    def name(self) -> str:
        return "an input is newer, at the first look"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        if context.previous_temporal_context is not None:
            return dg.AutomationResult(context, context.get_empty_subset())
        instance, graph = context.asset_graph_view.instance, context.asset_graph
        table = graph.get(context.key)
        own = _made(instance, graph, context.key)
        inputs = [_made(instance, graph, key) for key in table.parent_keys]
        parts = {part for made in inputs for part in behind(own, made, partitioned=table.is_partitioned)}
        known = context.asset_graph_view.get_asset_subset_from_asset_partitions(
            context.key, {AssetKeyPartitionKey(context.key, part or None) for part in parts}
        )
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(known))


def _made(instance: dg.DagsterInstance, graph: Any, key: dg.AssetKey) -> Mapping[str, int]:
    """When a table was last made, by month, or under ``WHOLE`` without months; as numbers that only grow."""
    if graph.get(key).is_partitioned:
        made = dg.DagsterEventType.ASSET_MATERIALIZATION
        return instance.event_log_storage.get_latest_storage_id_by_partition(key, made)
    found = [each.asset_entry.last_materialization_storage_id for each in instance.get_asset_records([key])]
    return dict.fromkeys([WHOLE], found[0]) if found and found[0] is not None else {}


def behind(own: Mapping[str, int], made: Mapping[str, int], *, partitioned: bool) -> set[str]:
    """The parts of a table that are missing, or older than an input that was ``made``: months, or ``WHOLE``."""
    if not partitioned:
        return {WHOLE} if max(made.values(), default=-1) > own.get(WHOLE, -1) else set()
    months = dict.fromkeys(own, made[WHOLE]) if WHOLE in made else made
    return {month for month, moment in months.items() if moment > own.get(month, -1)}


class InputsSound(dg.AutomationCondition):
    """True when every input was published, and no input's latest version was refused by a blocking check.

    A warning refuses nothing; Dagster's own ``all_deps_blocking_checks_passed`` does not tell them apart.
    """

    @property
    def name(self) -> str:
        return "all inputs are published and passed their blocking checks"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        requested = {key for key, subset in context.request_subsets_by_key.items() if not subset.is_empty}
        inputs = set(context.asset_graph.get(context.key).parent_keys) - requested
        sound = _published(context.asset_graph_view.instance, inputs) and not _refused(context, inputs)
        return dg.AutomationResult(context, context.candidate_subset if sound else context.get_empty_subset())


def _published(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> bool:
    wanted = list(keys)
    events = instance.get_latest_materialization_events(wanted)  # without those that never were
    return all(events.get(key) is not None for key in wanted)


def _refused(context: Any, keys: set[dg.AssetKey]) -> bool:
    """Whether a blocking check of one of the tables failed when it was last made."""
    checks = [check for key in keys for check in context.asset_graph.get_check_keys_for_assets({key})]
    records = context.asset_graph_view.instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    return any(_is_refusal(record) for record in records.values())


def _is_refusal(record: Any) -> bool:
    evaluation = record.event and record.event.dagster_event and record.event.dagster_event.event_specific_data
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return False  # planned, under way, or its step never got so far: then the table was not published
    return not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR and bool(evaluation.blocking)


def follow_inputs(table: Table, catalog: Catalog) -> dg.AutomationCondition | None:
    """When a table is made again: an input changed, nothing that it needs is missing, refused or under way.

    A table with months is made for those that its inputs have, each when that month changed, or a whole table did.
    None for tables that arrive from outside: sensors ask for them.
    """
    if table.arrives_from is not None:
        return None
    partitioned = table.contract.partitioned_by is not None
    # Which rows staging sets aside depends on the tables that they refer to; other audits change no row.
    audited = [] if table.contract.quarantines else catalog.needed_for_audit(table)
    unread = [dg.AssetKey(address.split("/")) for address in audited]
    read = dg.AssetSelection.all() - dg.AssetSelection.assets(*unread)
    inputs_requested: Any = When.any_deps_match(RequestedNow()).allow(read)
    changed = When.newly_missing() | When.any_deps_updated().allow(read) | inputs_requested | BehindAtFirst()
    handled = When.newly_requested() | When.newly_updated()
    ready = ~When.any_deps_in_progress() & ~When.in_progress() & InputsSound()
    if partitioned:
        missing: Any = When.missing()
        ready = ~When.any_deps_match(missing & ~RequestedNow()) & ready
    return (changed.since(handled) & ready).with_label("an input changed, and all inputs are sound")


class FollowSensor(dg.AutomationConditionSensorDefinition):
    """Dagster's sensor for automation conditions, that waits until the sources are read and asks for one run."""

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        if waiting := under_way(context.instance, READS):
            reason = f"waits for run {waiting}, which reads from the sources"
            return SensorExecutionData(skip_message=reason, cursor=context.cursor)
        data = super().evaluate_tick(context)
        return SensorExecutionData(
            run_requests=[
                each.with_replaced_attrs(asset_check_keys=self._checks(context, each.asset_selection or []))
                for each in merged(data.run_requests or [], self.run_tags)
            ],
            skip_message=data.skip_message,
            cursor=data.cursor,
            automation_condition_evaluations=data.automation_condition_evaluations,
        )

    @staticmethod
    def _checks(context: dg.SensorEvaluationContext, keys: Sequence[dg.AssetKey]) -> list[dg.AssetCheckKey]:
        """The tables' own checks; the live one has its schedule."""
        if context.repository_def is None:
            raise TypeError("a sensor is evaluated with its definitions")
        found = context.repository_def.asset_graph.get_check_keys_for_assets(set(keys))
        return sorted(set(found) - {CHECK})


def merged(requests: Sequence[dg.RunRequest], tags: Mapping[str, str] | None = None) -> list[dg.RunRequest]:
    """One run for everything: from the first to the last month that any table is made for.

    Months between are made as well: tables of one run belong together, those of several do not.
    """
    keys = {key for each in requests for key in each.asset_selection or []}
    months = sorted(month_of(each.partition_key) for each in requests if each.partition_key is not None)
    span = range_tags(months[0], months[-1]) if months else {}
    return [dg.RunRequest(asset_selection=sorted(keys), tags={**(tags or {}), **span})] if keys else []


def follow_sensor(layers: Sequence[str]) -> FollowSensor:
    """Asks for runs of the tables of ``layers`` whose inputs changed."""
    return FollowSensor(
        SENSOR,
        target=dg.AssetSelection.groups(*layers),
        minimum_interval_seconds=TICK_SECONDS,
        run_tags={FOLLOWS: SENSOR},
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes what is made from tables that changed, for the months that changed; never past a failed "
        "blocking check.",
        emit_backfills=False,
        use_user_code_server=True,
    )
