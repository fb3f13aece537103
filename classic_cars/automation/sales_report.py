"""The asset ``analytics/sales_report``: a page for each month with orders, every morning, from the current release.

An asset without a step among the tables': a run of tables is to be over when they are published, and a report that
cannot be written keeps none of them back. Its own job writes it and reports it as materialized.
"""

import dagster as dg

from classic_cars.errors import StoreError, TableMissing
from classic_cars.serving import release_asset
from classic_cars.serving.sales_report.files import folder, listed, write_reports
from classic_cars.settings import Settings
from classic_cars.tables.asset import OWNERS
from classic_cars.tables.live_agreement import last_agreement
from classic_cars.wording import counted

JOB = "sales_report"
KEY = dg.AssetKey(["analytics", "sales_report"])


def sales_report_spec() -> dg.AssetSpec:
    return dg.AssetSpec(
        key=KEY,
        deps=[release_asset.KEY],
        description="One page per month for people: headline measures against the month and the year before, product "
        f"lines, countries, top customers, and the proof. Job {JOB} writes them every morning below reports/ in the "
        "home, and the morning report attaches the latest; `classic-cars report` writes them at any time.",
        group_name=KEY.path[0],
        kinds={"html"},
        owners=[OWNERS["analytics"]],
        tags={"layer": KEY.path[0]},
    )


def sales_report_job(settings: Settings) -> dg.JobDefinition:
    """Writes the report of each month. Fails when the release cannot be read; without one there is nothing to do."""

    @dg.op(description="One page for each month of the current release")
    def write_sales_reports(context: dg.OpExecutionContext) -> None:
        try:
            release, written = write_reports(settings, proven=last_agreement(context.instance))
        except TableMissing as error:
            context.log.info(str(error))
            return
        except StoreError as error:
            raise dg.Failure(str(error)) from None
        if not written:
            return
        latest = written[-1]
        context.log_event(
            dg.AssetMaterialization(
                KEY,
                metadata={
                    "latest report": dg.MetadataValue.path(str(latest.path)),
                    "folder": dg.MetadataValue.path(str(folder(settings))),
                    "months": len(written),
                    "latest month": f"{latest.month:%Y-%m}",
                    "net sales of the latest month": float(latest.net_sales),
                    "net sales of the latest month, exact": f"{latest.net_sales:,.2f}",
                    "release": release.number,
                    "reports": dg.MetadataValue.md(listed(written)),
                    "summary": f"{counted(len(written), 'report')} of {release.order_lines.line()}",
                },
            )
        )

    @dg.job(
        name=JOB,
        description="The sales report of each month",
        executor_def=dg.in_process_executor,
        # Its step hands on nothing, and the store's IO manager would hold the store for the whole run.
        resource_defs={"io_manager": dg.mem_io_manager},
    )
    def sales_report() -> None:
        write_sales_reports()

    return sales_report
