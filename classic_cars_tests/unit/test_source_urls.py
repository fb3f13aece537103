"""What a source's URL shows of itself: never what stands between // and the last @."""

from __future__ import annotations

from urllib.parse import quote

import pytest
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


@pytest.mark.parametrize(
    "text",
    [
        "mysql://user:123/SECRET/classicmodels",  # the host was forgotten
        "mysql://re/ader:SECRET@host/classicmodels",
        "postgresql://reader:SEC@RET@host/classicmodels",
        "reader:SECRET://host/classicmodels",
        "mysql://host/?password=SECRET",
    ],
)
def test_what_cannot_be_read_is_not_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        SourceURL.parse(text)
    assert "SEC" not in str(refused.value)
    assert "RET" not in str(refused.value)


@pytest.mark.parametrize("option", ["password=SECRET", "sslpassword=SECRET"])
def test_options_are_passed_on_and_not_shown(option: str) -> None:
    url = SourceURL.parse(f"postgresql://reader@host:5432/classicmodels?{option}")
    assert str(url) == repr(url) == "postgresql://reader@host:5432/classicmodels"
    assert list(url.options().values()) == ["SECRET"]
