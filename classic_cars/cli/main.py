"""The command line: thin commands over the platform's parts. Imports late, so that ``--help`` is quick."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from classic_cars.cli.assistants import mcp
from classic_cars.cli.catalog import describe, tables
from classic_cars.cli.embed import embed
from classic_cars.cli.lake import exporting, importing, lake
from classic_cars.cli.metrics import metrics
from classic_cars.cli.operations import dashboard, dev, docs, doctor, incident, status
from classic_cars.cli.questions import answers, query
from classic_cars.cli.releases import releases
from classic_cars.cli.reports import report
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import (
    Commands,
    err,
    out,
    progress,
    published,
    released,
    show_balance,
    show_contradictions,
    show_release,
)
from classic_cars.env_file import said_otherwise
from classic_cars.interrupts import EXIT_CODE
from classic_cars.wording import counted

if TYPE_CHECKING:
    from classic_cars.runs import FailedCheck, RunReport


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """From a retailer's order system to a star schema that agrees with it to the cent.

    \b
    A first look, without a database of your own:
      classic-cars shop create     make an order system to play with
      classic-cars run             read it, check it, publish the star schema
      classic-cars answers         which product lines are more successful? which countries?

    Everything is written below CLASSIC_CARS_HOME (default ./var). CLASSIC_CARS_SOURCE_URL names the order
    system: sqlite:///shop.db, mysql://user:password@host/db, mariadb://... or postgresql://...
    """
    for name, nearest in _unknown_variables().items():
        meant = f"; did you mean {nearest}?" if nearest else "; `classic-cars doctor` and README.md list the settings"
        err.print(f"[yellow]warning[/]: {escape(name)} is no setting and does nothing{meant}", soft_wrap=True)
    if found := said_otherwise(Path.cwd()):
        err.print(f"[yellow]warning[/]: {escape(found)}", soft_wrap=True)


def _unknown_variables() -> dict[str, str]:
    if not any(name.upper().startswith("CLASSIC_CARS_") for name in os.environ):
        return {}  # and pydantic need not be imported
    with quick_imports():
        from classic_cars.settings import unknown_variables
    return unknown_variables()


# Running ----------------------------------------------------------------------------------------------


@main.command()
@click.option(
    "--select",
    "patterns",
    multiple=True,
    metavar="TABLE",
    help="Only these, such as warehouse/* or source/order*+ (with what is made from them); repeatable.",
)
@click.option("--months", metavar="MONTHS", help="Make these months of orderDate, and no others: 2004-01..2004-03.")
@click.option(
    "--accept-shrink",
    "shrinking",
    multiple=True,
    metavar="TABLE",
    help="This table of the order system, such as orders, may have far fewer rows than before; repeatable.",
)
@click.option("--full", is_flag=True, help="Every table for every month, whether it changed or not.")
@click.option("--in-memory", is_flag=True, help="Keep the run's events in memory, out of Dagster's history.")
def run(patterns: tuple[str, ...], months: str | None, shrinking: tuple[str, ...], full: bool, in_memory: bool) -> None:
    """Read the order system, check everything, publish what passes.

    Makes what changed: tables and months whose code or whose inputs have another version than the one that
    they were made of. Tables named with --select, and months named with --months, are made in any case,
    and --full makes everything; so does --in-memory, which knows of no run before. With --months no other
    months are made. A table whose checks fail keeps its previous version; the exit code is then 1. The
    last lines say how much of what the order system sent is published, and how much is quarantined.
    """
    started = time.monotonic()
    with progress("loading the platform"):
        with quick_imports():
            from classic_cars.months import Months
            from classic_cars.runs import execute, execute_what_changed
            from classic_cars.settings import load_settings
        try:
            chosen = Months.parse(months) if months else None
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--months") from None
        settings = load_settings()
        if patterns or full or in_memory:
            report = execute(settings, patterns, chosen, ephemeral=in_memory, accept_shrink=shrinking)
        else:
            report = execute_what_changed(settings, chosen, accept_shrink=shrinking)
    _show_report(report)
    if not report.interrupted:
        _show_completeness(report.run_id)
    if report.not_served:
        err.print(f"[bold red]not served[/]: {escape(report.not_served)}", soft_wrap=True)
    out.print(_line(report, time.monotonic() - started), soft_wrap=True)
    if report.interrupted:
        sys.exit(EXIT_CODE)
    if not report.succeeded:
        sys.exit(1)


def _line(report: RunReport, seconds: float) -> str:
    """The run in one line, as it goes into a ticket."""
    run = f"run {report.run_id}" if report.run_id else "no run was needed"
    result = "interrupted" if report.interrupted else "succeeded" if report.succeeded else "failed"
    style = "green" if report.succeeded else "bold red"
    months = f" for {report.made}" if report.made else ""
    said = [f"{counted(len(report.published), 'table')} published{months}"]
    if report.unchanged:
        said.append(f"{len(report.unchanged)} of {counted(report.tables, 'table')} unchanged")
    return f"{run}: [{style}]{result}[/]; {', '.join(said)}, {counted(report.rows, 'row')} in {seconds:.1f} s"


def _show_completeness(run_id: str) -> None:
    """What is published now, whatever became of the run; the run's outcome is not changed by what is found.

    A release that the run itself made of all that it published has just proven it.
    """
    from classic_cars.errors import StoreError
    from classic_cars.serving.completeness import balances
    from classic_cars.serving.consistency import contradictions
    from classic_cars.serving.releases import pending
    from classic_cars.settings import load_settings

    try:
        with released() as found:
            release = found[0] if found is not None else None
        if release is not None and release.run_id == run_id and not pending(load_settings()):
            for balance in release.balances:
                show_balance(balance)
        else:
            with published() as store:
                for balance in balances(store):
                    show_balance(balance)
                show_contradictions(contradictions(store))
        if release is not None:
            show_release(release)
    except StoreError as error:
        err.print(f"[yellow]completeness is not known[/]: {escape(str(error))}", soft_wrap=True)


def _show_report(report: RunReport) -> None:
    for check in report.failed_checks:
        if check.blocking:
            _show_check("[bold red]failed[/]", check)
    for step, text in report.errors.items():
        out.print(f"[bold red]error[/]   {step}: {escape(text.removeprefix(f'{step}: '))}", soft_wrap=True)
    for check in report.failed_checks:
        if not check.blocking:
            _show_check("[yellow]warning[/]", check)
    if report.not_published:
        kept = ", ".join(report.not_published)
        out.print(f"{counted(len(report.not_published), 'table')} kept the previous version: {kept}", soft_wrap=True)


def _show_check(kind: str, check: FailedCheck) -> None:
    out.print(f"{kind}  {check.table}, check {check.check}: {escape(check.summary)}", soft_wrap=True)


for command in (
    answers,
    metrics,
    report,
    releases,
    tables,
    describe,
    query,
    mcp,
    status,
    incident,
    doctor,
    dev,
    dashboard,
    embed,
    docs,
):
    main.add_command(command)
for plugin in entry_points(group="classic_cars.commands"):
    main.add_command(plugin.load(), plugin.name)
for command in (lake, exporting, importing):
    main.add_command(command)


if __name__ == "__main__":
    main()
