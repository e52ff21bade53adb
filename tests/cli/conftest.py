import pytest

from tests.support.project import make_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's project, shared by the tests of a file."""
    place = tmp_path_factory.mktemp("project")
    make_project(place)
    return place
