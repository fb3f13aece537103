"""The documents do not lie: their code runs, their commands, settings and links exist, nothing in them is stale."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import pytest
from pydantic import SecretStr

from classic_cars.cli.main import main
from classic_cars.serving.dictionary import documents
from classic_cars.settings import Settings
from classic_cars_tests.platform import ask

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

ADD_A_TABLE = ROOT / "docs" / "add-a-table.md"
#: What stands after the file's name in a block that is wrong on purpose.
ON_PURPOSE = ", with two columns swapped"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str

    @property
    def file(self) -> str:
        """The file that a block of Python names in its first line."""
        return self.text.partition("\n")[0].removeprefix("# ")


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)]


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


# Add a table -------------------------------------------------------------------------------------------

#: Types the commands of a page one after the other, in one process: starting one takes longer than the work.
TYPIST = """
import json, os, shlex, sys
from pathlib import Path
tests = 0
for block in json.loads(sys.argv[1]):
    print("\\x1e", end="", flush=True)
    for command in block:
        program, *words = shlex.split(command)
        os.environ["CLASSIC_CARS_HOME"] = str(next(Path().glob("tests*/published*"), ""))
        if program == "classic-cars":
            from classic_cars.cli import main
            try:
                main.main(words, standalone_mode=False)
                print("exit code 0", flush=True)
            except SystemExit as stop:
                print("exit code", stop.code, flush=True)
        elif words[:2] == ["-m", "pytest"]:
            import pytest
            tests += 1
            plugins = ["-p", "no:xdist", "-p", "no:cacheprovider"]
            code = pytest.main([*words[2:], "-q", *plugins, "--basetemp", f"tests{tests}"])
            print("exit code", int(code), flush=True)
"""


class Checkout:
    """A copy of the project in which a reader of the page works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("classic_cars", "classic_cars_tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / name, folder)

    def write(self, block: Block) -> None:
        """Put the code at the end of the file that it names."""
        with (self.folder / block.file.removesuffix(ON_PURPOSE)).open("a") as file:
            file.write(f"\n\n{block.text}")

    def type(self, typed_blocks: list[Block]) -> list[str]:
        """What each block of commands prints, typed by the reader in this checkout."""
        commands = [block.text.splitlines() for block in typed_blocks]
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("CLASSIC_CARS_", "PYTEST_"))}
        done = subprocess.run(
            [sys.executable, "-c", TYPIST, json.dumps(commands)],
            cwd=self.folder,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # where errors are said
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.split("\x1e")[1:]

    def load(self, modules: Iterable[str]) -> str:
        """What it says to import these modules and to load all definitions; empty when all is well."""
        code = f"import {', '.join(modules)}; from classic_cars.definitions import defs; defs()"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=self.folder,
            env=os.environ | {"CLASSIC_CARS_HOME": str(self.folder / "home"), "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stderr

    def sales_by_vendor(self) -> list[tuple]:
        """The published rows, in the home in which the page's own tests published a small shop."""
        settings = Settings(home=next(self.folder.glob("tests*/published*")))
        return ask(settings, "SELECT * FROM analytics.sales_by_vendor ORDER BY 1")


def alike(text: str) -> list[str]:
    """The lines with every number and id as ``#`` and every space once: what runs of two shops have in common."""
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\d[\d,.]*", "#", text)
    return [re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines()]


def test_the_code_of_adding_a_table_loads(tmp_path: Path):
    checkout, modules = Checkout(tmp_path / "checkout"), {}
    for block in blocks(ADD_A_TABLE):
        if block.kind == "python" and not block.file.endswith(ON_PURPOSE):
            checkout.write(block)
            modules[block.file.removesuffix(".py").replace("/", ".")] = True
    assert checkout.load(modules) == ""


@pytest.mark.exhaustive
def test_adding_a_table_works_as_the_page_says(tmp_path: Path):
    found = blocks(ADD_A_TABLE)
    assert {block.kind for block in found} == {"python", "sh", "text"}
    (wrong,) = [block for block in found if block.kind == "python" and block.file.endswith(ON_PURPOSE)]
    shell = [block for block in found if block.kind == "sh"]
    fails = next(block for block in found[found.index(wrong) :] if block.kind == "sh")
    shell.remove(fails)
    shell.sort(key=lambda block: "pytest" not in block.text)  # the page's tests publish the shop that it works on
    shown = {before: after.text for before, after in pairwise(found) if after.kind == "text"}

    checkout = Checkout(tmp_path / "checkout")
    for block in found:
        if block.kind == "python" and block is not wrong:
            checkout.write(block)
    for block, output in zip(shell, checkout.type(shell), strict=True):
        assert re.findall(r"exit code (\d+)", output) == ["0"] * len(block.text.splitlines()), output
        assert set(alike(shown.get(block, ""))) <= set(alike(output)), output
    assert "### analytics/sales_by_vendor" in (checkout.folder / "docs" / "data-dictionary.md").read_text()

    before = checkout.sales_by_vendor()
    checkout.write(wrong)
    (output,) = checkout.type([fails])
    assert "exit code 1" in output
    assert set(alike(shown[fails])) <= set(alike(output)), output
    assert checkout.sales_by_vendor() == before
    assert len(before) > 1


# Settings ----------------------------------------------------------------------------------------------


def test_the_readme_names_every_setting_with_its_default_and_meaning():
    rows = re.findall(r"^\| `(CLASSIC_CARS_\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _, _ in rows] == [f"CLASSIC_CARS_{name.upper()}" for name in Settings.model_fields]
    for (name, default, meaning), field in zip(rows, Settings.model_fields.values(), strict=True):
        value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        assert default == (f"`{value}`" if str(value) else ""), name
        assert meaning.startswith(str(field.description)), name


@BY_NAME
def test_no_page_names_a_setting_that_does_not_exist(page: Path):
    named = set(re.findall(r"CLASSIC_CARS_([A-Z0-9_]*[A-Z])", page.read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}


# Commands and targets ----------------------------------------------------------------------------------


def typed(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each command of ``program`` in the page: in inline code and in blocks of shell."""
    shell = [block.text for block in blocks(page) if block.kind == "sh"]
    lines = [line for text in shell for line in text.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", without_blocks(page))
    for line in lines:
        for found in re.finditer(rf"(?:^|[\s/;]){program}(?=$|\s)([^;|&>]*)", line):
            yield shlex.split(found[1], comments=True)


def assert_command_exists(words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r} in {command.name}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for option in command.params for name in option.opts} | {"--help", "-h"}
    for word in words:
        assert not word.startswith("-") or word.partition("=")[0] in options, f"{command.name} has no option {word}"


@BY_NAME
def test_every_command_that_a_page_names_exists(page: Path):
    for words in typed(page, "classic-cars"):
        assert_command_exists(words)


@BY_NAME
def test_every_make_target_that_a_page_names_exists(page: Path):
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {"help"}
    for words in typed(page, "make"):
        assert words[:1] == [] or words[0] in targets, words


def test_the_readme_lists_every_command_and_every_target():
    readme = ROOT / "README.md"
    commands = {words[0] for words in typed(readme, "classic-cars") if words}
    assert commands == set(main.commands) | ({"--help"} & commands)
    shop = main.commands["shop"]
    assert isinstance(shop, click.Group)
    named = {words[1] for words in typed(readme, "classic-cars") if words[:1] == ["shop"]}
    assert named - {"--help"} == set(shop.commands)
    lake = main.commands["lake"]
    assert isinstance(lake, click.Group)
    assert {words[1] for words in typed(readme, "classic-cars") if words[:1] == ["lake"]} == set(lake.commands)
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[0] for words in typed(readme, "make") if words} == {*targets}


# Links -------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@BY_NAME
def test_every_relative_link_leads_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


# Generated pages ---------------------------------------------------------------------------------------


def test_the_generated_pages_are_current():
    stale = [name for name, text in documents().items() if (ROOT / "docs" / name).read_text() != text]
    assert stale == [], "write them with `make docs`"
