"""The Dagster instance: where runs, events and logs are kept, and how Dagster is started on it.

``home`` ties the instance to ``CLASSIC_CARS_HOME``, ``event_log`` makes its event log fast,
``launcher`` notices runs whose process died, ``dev`` starts the web page and the daemon. The
instance's settings are in ``dagster.yaml`` at the top of the project, and nowhere else. Nothing
here knows an asset or a table.
"""

from classic_cars.instance.dev import serve
from classic_cars.instance.home import STORE_POOL, PooledInstance, StockInstance, open_instance
from classic_cars.instance.launcher import LocalRunLauncher, fail_dead_runs

__all__ = [
    "STORE_POOL",
    "LocalRunLauncher",
    "PooledInstance",
    "StockInstance",
    "fail_dead_runs",
    "open_instance",
    "serve",
]
