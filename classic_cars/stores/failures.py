"""What a storage error is about, told from its number and words; both stores say it in words of their own.

Judged without paths: a folder called ``disk1`` is no full disk.
"""

from __future__ import annotations

import errno
import re

#: Quoted names, addresses and absolute paths (but no closing tags: S3 answers in XML).
_PLACES = re.compile(r""""[^"]*"|'[^']*'|\w+://\S+|(?<![\w<])(?:[A-Za-z]:)?[/\\]\S*""")
_FULL = re.compile(
    r"(?i)no space left|disk(?: is)? full|ENOSPC|failed to offload|max_temp_directory_size|quota exceeded"
)
_LOCKED = re.compile(r"(?i)\b(?:set|conflicting) lock\b")
_NO_DATABASE = re.compile(
    r"(?i)not a valid duckdb database file|computed checksum .* does not match|corrupt|serialization error|"
    r"failed to deserialize|unsupported storage version|could not read enough bytes|magic bytes|"
    r"decompression failed|in parquet file"
)


def without_places(text: str) -> str:
    """``text`` with paths, addresses and quoted names taken out."""
    return _PLACES.sub("…", text)


def is_full(error: BaseException) -> bool:
    """Whether a disk, or the quota on it, is full."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    return _FULL.search(without_places(str(error))) is not None


def is_damaged(error: BaseException) -> bool:
    """Whether the engine found something else than the file that it wrote."""
    return _NO_DATABASE.search(without_places(str(error))) is not None


def is_locked(error: BaseException) -> bool:
    """Whether another process has the file open; a checksum that is wrong "in block 3" is no lock."""
    return _LOCKED.search(without_places(str(error))) is not None
