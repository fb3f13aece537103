"""Tables on the terminal: headers and values are never cut, however narrow it is.

What does not fit is first closed up, then long texts are wrapped, and what still does not fit is shown as records, one
value a line. Where output is piped there is no screen to fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from classic_cars.cli.terminal import out

#: Characters that a column keeps at least whose texts are wrapped.
LEAST_TEXT = 16


@dataclass
class Column:
    """``numeric``: to the right. ``wraps``: its texts may be broken into lines."""

    name: str
    numeric: bool = False
    wraps: bool = False


@dataclass
class Grid:
    """Rows of marked-up texts under columns; ``last``: the last row is a total."""

    columns: list[Column]
    rows: list[Sequence[str]] = field(default_factory=list)
    title: str = ""
    last: bool = False

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def show(self) -> None:
        """Print it as wide as it is, or as the terminal allows."""
        room = out.width if out.is_terminal else None
        roomy = self._widths(broken_headers=False)
        closed = self._widths(broken_headers=True)
        if room is None or sum(roomy) + 3 * len(roomy) + 2 <= room:
            self._print(roomy, gap=1)
        elif sum(self._wrapped(closed, room)) + len(closed) <= room:
            self._print(self._wrapped(closed, room), gap=0)
        else:
            self._print_records()

    def _widths(self, *, broken_headers: bool) -> list[int]:
        widths = []
        for number, column in enumerate(self.columns):
            header = column.name.split() if broken_headers else [column.name]
            cells = [_width(row[number]) for row in self.rows]
            widths.append(max([cell_len(each) for each in header] + cells, default=0))
        return widths

    def _wrapped(self, widths: list[int], room: int) -> list[int]:
        """The same, with the widest texts wrapped until all of it fits, if that is possible."""
        widths = list(widths)
        least = [
            max([LEAST_TEXT, *map(len, column.name.split())]) if column.wraps else width
            for column, width in zip(self.columns, widths, strict=True)
        ]
        while sum(widths) + len(widths) > room:
            spare = [width - small for width, small in zip(widths, least, strict=True)]
            widest = max(range(len(widths)), key=lambda each: (spare[each] > 0, widths[each]))
            if spare[widest] <= 0:
                break
            widths[widest] -= 1
        return widths

    def _print(self, widths: list[int], gap: int) -> None:
        table = Table(
            box=SIMPLE_HEAD if gap else None,
            padding=(0, gap) if gap else (0, 1, 0, 0),
            title=escape(self.title) if self.title else None,
            title_justify="left",
            title_style="bold",
            header_style="bold",
        )
        for column, width in zip(self.columns, widths, strict=True):
            table.add_column(
                escape(column.name), justify="right" if column.numeric else "left", width=width, overflow="fold"
            )
        for number, row in enumerate(self.rows):
            is_total = self.last and number == len(self.rows) - 1
            if is_total:
                table.add_section()
            table.add_row(*row, style="bold" if is_total else "")
        # As wide as it has to be, whatever Rich takes the terminal's width for.
        Console(highlight=False, width=sum(widths) + 3 * len(widths) + 2).print(table)

    def _print_records(self) -> None:
        if self.title:
            out.print(self.title, style="bold", markup=False)
        widest = max((len(column.name) for column in self.columns), default=0)
        for number, row in enumerate(self.rows, 1):
            out.print(f"── {number} ──", style="dim")
            for column, cell in zip(self.columns, row, strict=True):
                out.print(f"[bold]{escape(column.name):<{widest}}[/]  {cell}", soft_wrap=True)


def _width(cell: str) -> int:
    return max((cell_len(line) for line in Text.from_markup(cell).plain.split("\n")), default=0)
