"""The import contracts of pyproject.toml, as a test."""

from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def test_imports_follow_the_layers(capsys):
    cli = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")

    code = cli.lint_imports(config_filename=str(PYPROJECT), no_cache=True)

    assert code == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
