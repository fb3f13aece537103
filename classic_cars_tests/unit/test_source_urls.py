"""What a source's URL shows of itself: never what stands between // and the last @."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from classic_cars.errors import SettingsError
from classic_cars.sources.urls import SourceURL

SERVERS = ("mysql", "mariadb", "postgresql")
#: Texts that people put into an address without a second thought.
PASSWORDS = st.text(st.sampled_from("aZ7@:/?#%&=[]\\ !$'\""), min_size=1, max_size=12)


@given(st.sampled_from(SERVERS), PASSWORDS, PASSWORDS)
@example("postgresql", "reader", "s3c@ret")
@example("mysql", "re/ader", "s3cret")
@example("mysql", "reader", "s3c/@ret")
def test_an_unescaped_password_is_shown_nowhere(scheme: str, user: str, password: str) -> None:
    user, password = f"{user}USER{user}", f"{password}SECRET{password}"
    try:
        shown = str(SourceURL.parse(f"{scheme}://{user}:{password}@host:3306/classicmodels"))
    except SettingsError as error:
        shown = str(error)
        assert "USER" not in shown
        assert "%40" in shown
    assert "SECRET" not in shown


@given(st.sampled_from(SERVERS), PASSWORDS)
def test_an_escaped_password_arrives(scheme: str, password: str) -> None:
    url = SourceURL.parse(f"{scheme}://reader:{quote(password, safe='')}@host:3306/classicmodels")
    assert url.credentials()["PASSWORD"] == password
    assert str(url) == f"{scheme}://reader:***@host:3306/classicmodels"


def test_a_file_may_have_an_at_sign_in_its_path() -> None:
    assert str(SourceURL.parse("sqlite:////home/me@work/shop@2.sqlite").path) == "/home/me@work/shop@2.sqlite"
