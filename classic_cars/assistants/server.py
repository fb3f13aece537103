"""The Model Context Protocol: five tools, over standard input and output or over HTTP on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BeforeValidator, Field

from classic_cars.assistants.extract import Extracts
from classic_cars.assistants.sandbox import Limits
from classic_cars.assistants.tools import Metrics, Quality, Rows, Tables, Tools
from classic_cars.errors import ClassicCarsError, QuestionError, TableMissing
from classic_cars.settings import Settings

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

#: Questions that are answered side by side; others wait.
AT_ONCE = 2
INSTRUCTIONS = """\
Sales of a retailer of scale-model cars, from a release: a numbered set of tables that agree with each other and, to \
the cent, with the order system. Amounts in USD, as texts with every digit. Prefer query_metrics: its measures are \
defined once and cannot be counted twice; list_metrics names them. read_only_sql takes one SELECT of DuckDB over \
layer.table; describe_table names tables and columns. Say the definition, the release and its age with each number; \
when `complete` is false, rows are missing from the answer, so do not add them up. Personal data is not here: names, \
addresses, phone numbers, e-mail addresses and free text are in no table, and nobody can be allowed to see them here."""

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

#: Assistants often send one text where a list of one is meant.
_listed = BeforeValidator(lambda given: [given] if isinstance(given, str) else given)

Table = Annotated[str, Field(description="Such as warehouse.fact_orders; empty: all tables", max_length=200)]
Name = Annotated[str, Field(max_length=200)]
Filter = Annotated[str, Field(max_length=2_000)]
Measures = Annotated[list[Name], _listed, Field(description="Such as netSales, margin", max_length=30)]
Cuts = Annotated[list[Name], _listed, Field(description="Dimensions, such as country, month", max_length=15)]
Filters = Annotated[
    list[Filter], _listed, Field(description="country=USA, country in USA,France, month>=2004-03", max_length=30)
]
Period = Annotated[Name | None, Field(description="2004, 2004-Q2, 2004-05 or 2003-06..2004-05")]
Comparison = Annotated[Name | None, Field(description="year or before")]


def server(settings: Settings, limits: Limits | None = None) -> MCPServer:
    """Opens nothing before the first question."""
    tools = Tools(settings, Extracts(settings), limits or Limits())
    slots = anyio.CapacityLimiter(AT_ONCE)
    found: MCPServer = MCPServer("classic-cars", instructions=INSTRUCTIONS, log_level="ERROR")

    async def said(question: Callable[..., Answer], *given: Any) -> Answer:
        return await anyio.to_thread.run_sync(partial(_in_sentences, question, *given), limiter=slots)

    @found.tool(annotations=_READS)
    async def list_metrics() -> Metrics:
        """Every measure and dimension: what it means, its unit, what it can be cut by."""
        return await said(tools.list_metrics)

    @found.tool(annotations=_READS)
    async def describe_table(table: Table = "") -> Tables:
        """Tables and their columns, with what they mean."""
        return await said(tools.describe_table, table)

    @found.tool(annotations=_READS)
    async def query_metrics(
        measures: Measures,
        by: Cuts = [],  # noqa: B006
        where: Filters = [],  # noqa: B006
        period: Period = None,
        compare: Comparison = None,
        top: Annotated[int | None, Field(description="Only rows with most of the first measure")] = None,
        share: Annotated[bool, Field(description="With each measure its share of the total; of additive ones")] = False,
    ) -> Rows:
        """Measures by dimensions, of a period, compared with the one before."""
        return await said(tools.query_metrics, measures, by, where, period, compare, top, share)

    @found.tool(annotations=_READS)
    async def read_only_sql(sql: Annotated[str, Field(description="One SELECT in DuckDB's SQL")]) -> Rows:
        """The result of one SELECT over the tables of the release."""
        return await said(tools.read_only_sql, sql)

    @found.tool(annotations=_READS)
    async def data_quality(table: Table = "") -> Quality:
        """How complete and how well proven the numbers are, and how each table's checks ended."""
        return await said(tools.data_quality, table)

    return found


def _in_sentences(question: Callable[..., Answer], *given: Any) -> Answer:
    """What went wrong as a sentence; the platform's own troubles stay here, where their messages name places."""
    try:
        return question(*given)
    except (QuestionError, TableMissing) as error:
        raise ToolError(str(error)) from None
    except Exception as error:
        known = isinstance(error, ClassicCarsError)
        log.error("%s: %s", type(error).__name__, error if known else "no question should do this")
        raise ToolError(
            "the warehouse cannot answer now; whoever runs it finds out why with `classic-cars doctor`"
        ) from None
