"""Classic Cars: a Dagster asset-based data platform for a retailer of scale-model cars.

The flow is ``source/* -> staging/* -> warehouse/* -> analytics/*``; ``definitions.py`` composes it.
Nothing is imported here, so that ``import classic_cars`` stays free of side effects.
"""
