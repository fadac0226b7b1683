"""`--conf home` names the folder of the server's own files; the app folder is only read."""

import pytest

from lib.places import APP, HOME_VARIABLE, app_folder
from tests.server.conftest import running_server


@pytest.mark.slow
def test_what_the_server_keeps_goes_where_conf_says(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "variable"))
    shipped = {path for path in APP.rglob("*") if "__pycache__" not in path.parts}
    studies, named = tmp_path / "studies", tmp_path / "named"
    studies.mkdir()
    with running_server(str(studies), tmp_path / "server.log", {"home": str(named)}):
        assert list((named / "scratch").iterdir())
        assert not (tmp_path / "variable" / "scratch").exists()
    # MONAI Label's log is beside the app it was started with, which it was told before the rest
    assert (app_folder() / "logs" / "app.log").exists()
    assert {path for path in APP.rglob("*") if "__pycache__" not in path.parts} == shipped
