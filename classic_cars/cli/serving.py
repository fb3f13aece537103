"""What commands that make a release do besides: bring PostgreSQL to it, where there is one."""

from __future__ import annotations

from rich.markup import escape

from classic_cars.cli.catalog import contracts
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import err, out, progress


def served(*, take_over: bool = False) -> bool:
    """Bring PostgreSQL to the current release, if the settings name one, and say so; False when it refused.

    ``take_over``: in place of another home's release, too.
    """
    with quick_imports():
        from classic_cars.settings import load_settings

    settings = load_settings()
    url = settings.serving_url.get_secret_value()
    if not url:
        return True
    with quick_imports():
        from classic_cars.instance import open_instance
        from classic_cars.serving.postgresql.asset import serve_release
        from classic_cars.stores import open_store

    with progress("loading PostgreSQL"), open_instance(settings) as instance:
        store = open_store(settings, read_only=True)
        done, wrong = serve_release(
            url, settings.connect_timeout, store, contracts(), instance, take_over=take_over, brief=False
        )
    if wrong:
        err.print(f"[bold red]not served[/]: {escape(wrong)}", soft_wrap=True)
    else:
        out.print(escape(done.line()) if done else "no release was made yet: `classic-cars run`", soft_wrap=True)
    return not wrong
