"""The landing zone as a Dagster resource."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from classic_cars.sources.landing import Landing


class LandingZone(dg.ConfigurableResource, dg.IAttachDifferentObjectToOpContext):
    """Where partners drop files, read-only."""

    location: str = Field(description="file:///folder or s3://bucket/prefix")

    def get_object_to_set_on_execution_context(self) -> Landing:
        return Landing(self.location)
