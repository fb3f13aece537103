"""Which package may know which: the contracts of import-linter in ``pyproject.toml``."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import lint_imports

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_packages_know_only_those_below_them() -> None:
    assert lint_imports(config_filename=str(PROJECT)) == 0


def test_an_import_against_the_direction_is_found(tmp_path: Path) -> None:
    reversed_layers = tmp_path / "importlinter.toml"
    reversed_layers.write_text(
        """
        [tool.importlinter]
        root_package = "classic_cars"
        [[tool.importlinter.contracts]]
        name = "the wrong way round"
        type = "layers"
        layers = ["classic_cars.contracts", "classic_cars.stores"]
        """
    )
    assert lint_imports(config_filename=str(reversed_layers)) == 1
