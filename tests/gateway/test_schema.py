"""schemathesis, which makes requests right and wrong of an OpenAPI document, finds nothing to complain about."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from web import StartWeb

# In the environment of the tests (extra `schema`), or anywhere.
ST = shutil.which("st", path=str(Path(sys.executable).parent)) or shutil.which("st")


@pytest.mark.long
@pytest.mark.timeout(150)
@pytest.mark.skipif(ST is None, reason="no schemathesis, which is the extra `schema`")
def test_schemathesis_finds_nothing(start_web: StartWeb, tmp_path: Path) -> None:
    web = start_web("http.write=true", "sync=false")
    assert ST is not None
    url = f"http://127.0.0.1:{web.port}/openapi.json"
    command = [ST, "run", url, "--checks", "all", "--max-examples", "50"]
    # Whether a name is a file's or a directory's depends on what was created before; asked for the other way it is 400.
    command += ["--exclude-checks", "positive_data_acceptance"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
