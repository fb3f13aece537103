"""Every failure this platform reports on purpose: one class per kind, each saying whether a retry can help.

A message names the place, what was found, what was expected and what to do. It never holds a
password or a row's personal data. Anything that is not a ``ClassicCarsError`` is a bug.
"""


class ClassicCarsError(Exception):
    """A failure with a message meant for the person who has to fix it."""

    #: True when doing the same thing again may succeed without anyone fixing anything.
    retryable = False


class SettingsError(ClassicCarsError):
    """A CLASSIC_CARS_* variable holds something unusable."""


class SourceError(ClassicCarsError):
    """The order system could not be read."""

    title = "cannot be read"


class SourceUnreachable(SourceError):
    """Nobody answers at the order system's address, or the connection broke."""

    title = "unreachable"
    retryable = True


class SourceAccessDenied(SourceError):
    """The order system refused the user, the password or the permission."""

    title = "access denied"


class SourceMissing(SourceError):
    """The database, file or table is not there."""

    title = "not there"


class SourceSchemaChanged(SourceError):
    """A table of the order system lacks a column that its contract names."""

    title = "schema changed"


class LandedFileChanged(SourceError):
    """What landed changed while it was read."""

    retryable = True


class ContractError(ClassicCarsError):
    """A table's function and its contract disagree: an error of the author, found at load time."""


class PartitionsError(ClassicCarsError):
    """A run of a table with months names none, or no range of months."""


class StoreError(ClassicCarsError):
    """The store could not be read or written."""


class StoreBusy(StoreError):
    """Another process holds the store, and the wait was not long enough."""

    retryable = True


class StoreUnavailable(StoreError):
    """The store's disk is full, read-only, or its file is not readable."""


class StoreDamaged(StoreError):
    """The store's file is not what the store wrote: it has to be restored, or rebuilt."""


class StoreAccessDenied(StoreError):
    """The store's server refused the credentials, or they lack a permission, or the bucket is not there."""


class StoreUnreachable(StoreError):
    """The store's server is unreachable, or breaks off."""

    retryable = True


class EngineUnreachable(StoreError):
    """The engine's server is unreachable, breaks off, or has ended the session."""

    retryable = True


class StoreConflict(StoreError):
    """Another writer published in the way of ours: it was made from a version that is not the current one."""

    retryable = True


class TableMissing(StoreError):
    """A table that should be read was never published."""


class ServingError(ClassicCarsError):
    """PostgreSQL could not be brought to a release; it holds what it held."""


class ShopRefused(ClassicCarsError):
    """The simulator would have had to touch tables that it did not make."""


class QuestionError(ClassicCarsError):
    """A question that cannot be asked: an unknown measure, a dimension it cannot be cut by, a filter that is none."""
