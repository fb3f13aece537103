"""Nightly maintenance: old runs leave Dagster's history, the store is maintained, and old quarantine is counted."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.instance import retention
from classic_cars.processes import remove_abandoned
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.stores.maintenance import maintained
from classic_cars.tables import refused
from classic_cars.wording import counted

JOB = "maintenance"
#: Runs deleted at a time.
BATCH = 100
#: A file that nothing refers to is left alone for so long: it may belong to a run under way.
ORPHAN_AGE = timedelta(hours=24)
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def delete_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete finished runs that were created before then, with their events; their number.

    Materializations and checks go with them, but the latest of each asset stays: Dagster's page needs it.
    """
    kept = latest_runs(instance)
    deleted = 0
    cursor = None
    while True:
        found = instance.get_run_records(
            dg.RunsFilter(statuses=FINISHED, created_before=before), limit=BATCH, cursor=cursor, ascending=True
        )
        old = [each for record in found if (each := record.dagster_run.run_id) not in kept]
        for run_id in old:
            retention.delete_run(instance, run_id)
        retention.delete_checks(instance, old)
        deleted += len(old)
        if len(found) < BATCH:
            return deleted
        cursor = found[-1].dagster_run.run_id if found[-1].dagster_run.run_id in kept else None


def latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that made the current version of some table, or of some month of one."""
    keys = list(instance.all_asset_keys())
    records = instance.get_asset_records(keys)
    return (
        {record.asset_entry.last_run_id for record in records if record.asset_entry.last_run_id}
        | {each.asset_entry.last_materialization.run_id for each in records if each.asset_entry.last_materialization}
        | {run for key in keys for run in _runs_of_months(instance, key)}
    )


def _runs_of_months(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    """Without them, months would count as missing, and be rebuilt."""
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    if not latest:
        return set()
    wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(latest.values()))
    return {record.run_id for record in instance.fetch_materializations(wanted, limit=len(latest)).records}


def quarantine_age(store: Store, contracts: Iterable[Contract], instance: dg.DagsterInstance) -> dict[str, str]:
    """Per quarantine table that has rows, how many, and when the oldest of the runs that quarantined them began."""
    found = {}
    counts = store.row_counts()
    for contract in contracts:
        address = contract.quarantine.address
        if not contract.quarantines or not counts.get(address):
            continue
        runs = [run for batch in store.query(f"SELECT DISTINCT _run_id FROM quarantine.{contract.name}")
                for run in batch.column(0).to_pylist()]  # fmt: skip
        began = [record.create_timestamp for run in runs if (record := instance.get_run_record_by_id(run))]
        since = f" since {min(began):%Y-%m-%d}" if began else ""
        found[address] = f"{counted(counts[address], 'row')}{since}"
    return found


def _maintain_store(settings: Settings, contracts: Sequence[Contract], holder: str) -> list[str]:
    """What was done to the store, in words."""
    store = open_store(settings)
    store.begin_run(holder)
    try:
        keep = timedelta(days=settings.keep_days)
        return list(maintained(store, contracts, keep=keep, orphan_age=ORPHAN_AGE, dry_run=False))
    except StoreError as error:
        raise dg.Failure(str(error)) from None
    finally:
        store.end_run()


def maintenance_job(settings: Settings, contracts: Sequence[Contract]) -> dg.JobDefinition:
    """Three steps, each of which goes on when another fails."""

    @dg.op(
        description=f"Deletes finished runs that are older than {settings.keep_days} days from Dagster's history, and "
        "observations and the quarantined rows of refused versions that are as old"
    )
    def delete_old_runs(context: dg.OpExecutionContext) -> None:
        before = datetime.now(UTC) - timedelta(days=settings.keep_days)
        files = refused.delete_older(settings.refused, before)
        runs = delete_runs(context.instance, before)
        observations = retention.delete_observations(context.instance, before)
        context.add_output_metadata(
            {"runs deleted": runs, "observations deleted": observations, "files of refused rows deleted": files}
        )

    @dg.op(
        description="Expires old versions, compacts small files, removes orphan files and copies that killed runs left"
    )
    def maintain_store(context: dg.OpExecutionContext) -> None:
        remove_abandoned(settings.home / "store")
        done = _maintain_store(settings, contracts, f"run {context.run_id}")
        context.add_output_metadata({"done": dg.MetadataValue.md("\n".join(f"- {line}" for line in done) or "nothing")})

    @dg.op(description="How many rows are in quarantine, and since when")
    def check_quarantine_age(context: dg.OpExecutionContext) -> None:
        store = open_store(settings, read_only=True)
        try:
            context.add_output_metadata(quarantine_age(store, contracts, context.instance) or {"rows": 0})
        except StoreError as error:
            raise dg.Failure(str(error)) from None
        finally:
            store.release()

    @dg.job(
        name=JOB,
        description="Maintenance of Dagster's history and of the store",
        executor_def=dg.in_process_executor,
        # Its steps hand on nothing, and the store's IO manager would hold the store for the whole run.
        resource_defs={"io_manager": dg.mem_io_manager},
    )
    def maintenance() -> None:
        delete_old_runs()
        maintain_store()
        check_quarantine_age()

    return maintenance
