"""How much memory this machine has, and amounts of it as DuckDB reads them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

#: DuckDB's memory, in bytes: less makes it spill at once, more makes it hardly faster.
LEAST_MEMORY, MOST_MEMORY = 700 * 10**6, 2 * 10**9
#: Where Linux says how much a container may have.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B", re.IGNORECASE)
#: Less than this and DuckDB cannot even open a file.
SMALLEST_MEMORY = 16 * 10**6


def share_of_memory() -> int:
    """Bytes: an eighth of what this process may have at most, within bounds that suit a laptop and a big machine."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(limit.read_text()))
    return max(LEAST_MEMORY, min(MOST_MEMORY, min(found) // 8))


def amount_of_memory(amount: str) -> float:
    """Bytes of an amount such as 1.5GB or 512 MiB, as DuckDB reads it; 0 for what is none."""
    found = _MEMORY.fullmatch(amount)
    if found is None:
        return 0
    number, unit, binary = found.groups()
    return float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()))
