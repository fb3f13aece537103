"""The commands of those who run the platform: how it is, what went wrong, what is misconfigured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import (
    err,
    out,
    published,
    released,
    show_balance,
    show_contradictions,
    show_release,
)

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
    grid = Grid(
        [Column("table"), Column("rows", numeric=True), Column("last materialized"), Column("checks", wraps=True)]
    )
    with published(settings) as store, open_instance(settings) as instance:
        for each in table_statuses((table.contract for table in ALL_TABLES), store, instance):
            rows = "[dim]never published[/]" if each.rows is None else f"{each.rows:,}"
            moment = f"{each.materialized:%Y-%m-%d %H:%M:%S} UTC" if each.materialized else ""
            grid.add(each.address, rows, moment, _checks(each))
        completeness, contradicting = balances(store), contradictions(store)
    grid.show()
    for balance in completeness:
        show_balance(balance)
    show_contradictions(contradicting)
    with released() as found:
        if found is not None:
            show_release(found[0])
        else:
            err.print("no release was made yet; analysts read the published tables", style="dim", soft_wrap=True)


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
        story = incident_report(instance, run_id)
    out.print(f"run {story.run_id}: {story.status.lower()}; launched by {story.launched_by}", soft_wrap=True)
    for each in story.timeline:
        mark = "[bold red]first[/]" if each is story.first else "[red]then[/] " if each.bad else "     "
        out.print(f"{each.when:%H:%M:%S} {mark} {escape(each.what)}", soft_wrap=True)
    if not story.affected:
        return
    names = ("table", "", "last good version", "rows", "made by run")
    grid = Grid([Column(name, numeric=name == "rows") for name in names], title="Tables that were not made")
    for table in story.affected:
        moment = f"{table.materialized:%Y-%m-%d %H:%M:%S} UTC" if table.materialized else "[dim]never published[/]"
        rows = "" if table.rows is None else f"{table.rows:,}"
        grid.add(table.table, table.how, moment, rows, table.run_id[:8])
    grid.show()


@click.command()
@click.option("--send-test-alert", is_flag=True, help="Instead, send a test alert to every address: did it arrive?")
def doctor(*, send_test_alert: bool) -> None:
    """Examine configuration, connections, permissions and disk; say what is wrong and how to fix it."""
    from classic_cars.doctor import examine, send_test_alerts

    findings = []
    for finding in send_test_alerts() if send_test_alert else examine():
        mark = "[green]ok[/]     " if finding.well else "[bold red]problem[/]"
        out.print(f"{mark} {finding.subject}: {escape(finding.text)}", soft_wrap=True)
        findings.append(finding)
    if not all(finding.well for finding in findings):
        sys.exit(1)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
def dev(host: str, port: int) -> None:
    """Start Dagster's web page and daemon on the same instance that `run` uses.

    The log has warnings and errors; what ran is on the web page.
    """
    from classic_cars.instance import serve
    from classic_cars.settings import load_settings

    settings = load_settings()
    out.print(f"Dagster's web page: http://{escape(host)}:{port} (in some seconds); home {escape(str(settings.home))}")
    serve(settings, host=host, port=port)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine alone.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
def dashboard(host: str, port: int) -> None:
    """The answers on a web page: filters, charts, maps, and what the data is checked for.

    Reads the current release, so that it waits for no run and no run waits for it. Needs
    `pip install 'classic-cars[dashboard]'`.
    """
    from classic_cars.dashboard.serve import serve
    from classic_cars.serving.access import may_listen
    from classic_cars.settings import load_settings

    settings = load_settings()
    may_listen(host, settings)
    out.print(f"The dashboard: http://{escape(host)}:{port} (in some seconds); home {escape(str(settings.home))}")
    serve(host, port, settings)


@click.command()
@click.option("--check", is_flag=True, help="Only say whether the documents are current; exit code 1 if not.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where they are; by default in docs/ of the project around here."
)
def docs(check: bool, folder: Path | None) -> None:
    """Write the data dictionary and the metric definitions from the contracts."""
    from classic_cars.serving.dictionary import documents

    folder = _project_docs() if folder is None else folder
    stale = [
        name
        for name, text in documents().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    if check:
        for name in stale:
            err.print(f"{escape(str(folder / name))} is not current; write it with `classic-cars docs`")
        sys.exit(1 if stale else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)
        out.print(f"{'wrote' if name in stale else 'current'} {escape(str(folder / name))}")


def _project_docs() -> Path:
    """The documents' folder of the project that this folder is in. Raises ``click.UsageError`` outside of one."""
    here = Path.cwd()
    for each in (here, *here.parents):
        if (each / "classic_cars" / "contracts").is_dir():
            return Path("docs") if each == here else each / "docs"
    raise click.UsageError(f"{here}: is not in the project of the contracts; name a folder with --folder")
