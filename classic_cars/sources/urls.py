"""A database's URL, such as the order system's: what it names, how each library wants it, and how it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from classic_cars.errors import SettingsError

DRIVERS = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
}
#: Other spellings of a scheme, as hosting providers hand them out.
ALIASES = {"postgres": "postgresql"}
DEFAULT_PORTS = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}


@dataclass(frozen=True)
class SourceURL:
    """A parsed URL. Printing it never shows the password."""

    url: sa.URL
    scheme: str

    @classmethod
    def parse(cls, text: str, variable: str = "CLASSIC_CARS_SOURCE_URL") -> SourceURL:
        """Raises ``SettingsError`` that names the variable and shows the scheme at most."""
        scheme, found, rest = text.partition("://")
        scheme = ALIASES.get(scheme, scheme)
        text = f"{scheme}{found}{rest}"
        if not found or scheme not in DRIVERS:
            # Without a scheme the whole text would be shown, and a password with it.
            shown = f"scheme {scheme!r}" if found and re.fullmatch("[a-z0-9+]{1,20}", scheme) else "no scheme"
            raise SettingsError(
                f"{variable}: found {shown}, expected one of {', '.join(DRIVERS)}, "
                "as in mysql://user:password@host:3306/classicmodels"
            )
        try:
            url = sa.make_url(text)
        except (sa.exc.ArgumentError, ValueError):
            raise _unreadable(scheme, variable) from None
        # One @, after the user, and no / in the database: otherwise part of the password was taken for a host or the
        # database, and would be shown.
        torn = text.count("@") > 1 or ("@" in text and url.username is None) or "/" in (url.database or "")
        if scheme != "sqlite" and torn:
            raise _unreadable(scheme, variable)
        if not url.database or (scheme == "sqlite" and not Path(url.database).name):
            raise SettingsError(f"{variable}: {cls(url, scheme)} names no database")
        return cls(url, scheme)

    def __str__(self) -> str:
        """Without options, one of which may be a password, too."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    __repr__ = __str__

    @property
    def is_sqlite(self) -> bool:
        return self.scheme == "sqlite"

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.database or "").expanduser().absolute()

    def for_sqlalchemy(self) -> sa.URL:
        """With the driver that this project installs."""
        return self.url.set(drivername=DRIVERS[self.scheme])

    def credentials(self) -> dict[str, str]:
        """Where the server is and who asks, in the words of DuckDB's secrets; holds the password."""
        found = {
            "HOST": self.url.host or "127.0.0.1",
            "PORT": self.url.port or DEFAULT_PORTS[self.scheme],
            "DATABASE": self.url.database,
            "USER": self.url.username,
            "PASSWORD": self.url.password,
        }
        return {key: str(value) for key, value in found.items() if value is not None}

    def options(self) -> dict[str, str]:
        """Options of the connection that the URL names, such as ``sslmode=require``."""
        return {key: str(value) for key, value in self.url.query.items()}


def _unreadable(scheme: str, variable: str) -> SettingsError:
    """Shows nothing of the text: who knows where in it the password is."""
    return SettingsError(
        f"{variable}: {scheme}://... cannot be read; expected "
        f"{scheme}://user:password@host:port/database, with special characters of user, password and options "
        "percent-encoded (@ is %40, / is %2F, : is %3A)"
    )
