"""Servers of a layout on loopback: its code location, and Postgres where this machine has it."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dagster._grpc.client import DagsterGrpcClient

from tests.deploy.layouts import COMMANDS, DEPLOY, read
from tests.loopback import free_port
from tests.processes import environment_now
from tests.project import ROOT


def program(name: str) -> str | None:
    """Find a program of Postgres; Debian keeps the server's out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which the layouts' instance opens an empty database."""
    pytest.importorskip("dagster_postgres")
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("there is no Postgres server on this machine")
    folder = tmp_path_factory.mktemp("postgres")
    # The server refuses to be root.
    owner = "postgres" if os.geteuid() == 0 else None
    if owner:
        for one in (folder, *folder.parents):
            if one.stat().st_uid == os.geteuid() and one.is_relative_to(tempfile.gettempdir()):
                one.chmod(one.stat().st_mode | 0o011)
        shutil.chown(folder, owner)
    password, port = secrets.token_hex(16), str(free_port())
    (folder / "password").write_text(password)
    if owner:
        shutil.chown(folder / "password", owner)
    subprocess.run(
        [
            *(initdb, "--pgdata", str(folder / "data"), "--username", "onaspr", "--no-sync"),
            *("--auth", "scram-sha-256", "--pwfile", str(folder / "password")),
        ],
        user=owner,
        check=True,
        capture_output=True,
        cwd=folder,
    )
    server = subprocess.Popen(
        [postgres, "-D", str(folder / "data"), "-k", str(folder), "-p", port, "-h", "127.0.0.1", "-F"],
        user=owner,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield {
            "ONASPR_POSTGRES_HOST": "127.0.0.1",
            "ONASPR_POSTGRES_PORT": port,
            "ONASPR_POSTGRES_USER": "onaspr",
            "ONASPR_POSTGRES_PASSWORD": password,
            "ONASPR_POSTGRES_DB": "postgres",
            "ONASPR_LOGS": str(folder.with_name("logs")),
        }
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=["compose", "kubernetes"])
def served(request: pytest.FixtureRequest, tmp_path: Path, settings_file: Path) -> Iterator[Path]:
    """The layout's code server, on loopback; yields the layout's workspace.yaml with its port."""
    words = COMMANDS[f"{request.param} code"]
    port = str(free_port())
    given = {"0.0.0.0": "127.0.0.1", "4000": port, "kuberay.py": str(DEPLOY / "kuberay.py")}
    environment = {**environment_now(), "ONASPR_SETTINGS": str(settings_file), "ONASPR_IMAGE": "onaspr:0.1.0"}
    process = subprocess.Popen(
        [sys.executable, "-m", *(given.get(word, word) for word in words)], cwd=ROOT, env=environment
    )
    try:
        client = DagsterGrpcClient(port=int(port), host="127.0.0.1")
        deadline = time.monotonic() + 200
        while client.health_check_query() != "SERVING":  # type: ignore[no-untyped-call]
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        workspace = read("workspace.yaml")
        workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": int(port)}
        file = tmp_path / "workspace.yaml"
        file.write_text(yaml.safe_dump(workspace))
        yield file
    finally:
        process.terminate()
        process.wait()
