"""What runs by itself where: sensors and schedules are registered for each environment in this one mapping."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from classic_cars.settings import Environment


@dataclass(frozen=True)
class Automation:
    """Whether sensors and schedules run unless somebody switches them off, or only when somebody switches them on."""

    sensors: dg.DefaultSensorStatus
    schedules: dg.DefaultScheduleStatus


ON = Automation(dg.DefaultSensorStatus.RUNNING, dg.DefaultScheduleStatus.RUNNING)
OFF = Automation(dg.DefaultSensorStatus.STOPPED, dg.DefaultScheduleStatus.STOPPED)

AUTOMATION: dict[Environment, Automation] = {"development": OFF, "staging": ON, "production": ON}


def automation(environment: Environment, *, attended: bool) -> Automation:
    """What runs in this environment; with somebody ``attended`` to it, as under ``classic-cars dev``, everything."""
    return ON if attended else AUTOMATION[environment]
