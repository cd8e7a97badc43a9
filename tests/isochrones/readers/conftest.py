"""An isochrone whose columns the tests write to files."""

import pytest

from version_files import star_columns


@pytest.fixture(scope="module")
def star(iso):
    return star_columns(iso)
