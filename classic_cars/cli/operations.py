"""The commands of those who run the platform: how it is, what went wrong, what is misconfigured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as Grid

from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import err, out, published, show_balance, show_contradictions

if TYPE_CHECKING:
    from classic_cars.serving.status import TableStatus


@click.command()
def status() -> None:
    """Per table: rows, when it was last materialized, and its checks; and how complete the facts are."""
    with quick_imports():
        from classic_cars.assets import ALL_TABLES
        from classic_cars.instance import open_instance
        from classic_cars.serving.completeness import balances
        from classic_cars.serving.consistency import contradictions
        from classic_cars.serving.status import table_statuses
        from classic_cars.settings import load_settings

    settings = load_settings()
    grid = Grid(box=SIMPLE_HEAD)
    for name in ("table", "rows", "last materialized", "checks"):
        grid.add_column(name, justify="right" if name == "rows" else "left", no_wrap=name != "checks")
    with published(settings) as store, open_instance(settings) as instance:
        for each in table_statuses((table.contract for table in ALL_TABLES), store, instance):
            rows = "[dim]never published[/]" if each.rows is None else f"{each.rows:,}"
            moment = f"{each.materialized:%Y-%m-%d %H:%M:%S} UTC" if each.materialized else ""
            grid.add_row(each.address, rows, moment, _checks(each))
        completeness, contradicting = balances(store), contradictions(store)
    out.print(grid)
    for balance in completeness:
        show_balance(balance)
    show_contradictions(contradicting)


def _checks(table: TableStatus) -> str:
    """Why the latest attempt failed; failed checks, then warnings, both by name; then how many passed."""
    failed = [*([table.failure] if table.failure else []), *table.failed]
    parts = [f"[bold red]failed: {escape(', '.join(failed))}[/]"] if failed else []
    parts += [f"[yellow]warning: {', '.join(table.warnings)}[/]"] if table.warnings else []
    parts += [f"[green]{len(table.passed)} passed[/]"] if table.passed else []
    return "; ".join(parts)


@click.command()
@click.argument("run_id")
def incident(run_id: str) -> None:
    """The story of a run that failed: what went wrong first, which tables it kept from being made.

    RUN_ID is a run's id or the beginning of it, as alerts and the web page show it.
    """
    with quick_imports():
        from classic_cars.instance import open_instance
        from classic_cars.serving.incident import incident_report
        from classic_cars.settings import load_settings

    with open_instance(load_settings()) as instance:
        told = incident_report(instance, run_id)
    out.print(f"run {told.run_id}: {told.status.lower()}; launched by {told.launched_by}", soft_wrap=True)
    for each in told.timeline:
        mark = "[bold red]first[/]" if each is told.first else "[red]then[/] " if each.bad else "     "
        out.print(f"{each.when:%H:%M:%S} {mark} {escape(each.what)}", soft_wrap=True)
    if not told.affected:
        return
    grid = Grid(title="Tables that were not made", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in ("table", "", "last good version", "rows", "made by run"):
        grid.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for table in told.affected:
        moment = f"{table.materialized:%Y-%m-%d %H:%M:%S} UTC" if table.materialized else "[dim]never published[/]"
        rows = "" if table.rows is None else f"{table.rows:,}"
        grid.add_row(table.table, table.how, moment, rows, table.run_id[:8])
    out.print(grid)


@click.command()
@click.option("--send-test-alert", is_flag=True, help="Instead, send a test alert to every address: did it arrive?")
def doctor(*, send_test_alert: bool) -> None:
    """Examine configuration, connections, permissions and disk; say what is wrong and how to mend it."""
    from classic_cars.doctor import examine, test_alerts

    findings = []
    for finding in test_alerts() if send_test_alert else examine():
        mark = "[green]ok[/]     " if finding.well else "[bold red]problem[/]"
        out.print(f"{mark} {finding.subject}: {escape(finding.text)}", soft_wrap=True)
        findings.append(finding)
    if not all(finding.well for finding in findings):
        sys.exit(1)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True)
def dev(host: str, port: int) -> None:
    """Start Dagster's web page and daemon on the same instance that `run` uses."""
    from classic_cars.instance import serve
    from classic_cars.settings import load_settings

    serve(load_settings(), host=host, port=port)


@click.command()
@click.option("--check", is_flag=True, help="Only say whether the documents are current; exit code 1 if not.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Where they are."
)
def docs(check: bool, folder: Path) -> None:
    """Write the data dictionary and the metric definitions from the contracts."""
    from classic_cars.serving.dictionary import documents

    stale = [
        name
        for name, text in documents().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    if check:
        for name in stale:
            err.print(f"{folder / name} is not current; write it with `classic-cars docs`")
        sys.exit(1 if stale else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)
        out.print(f"{'wrote' if name in stale else 'current'} {folder / name}")
