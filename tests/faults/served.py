"""Dagster as it is deployed: code server, webserver and daemon as processes, each of which can be killed."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus

from onaspr_assets.build import build_defs
from onaspr_assets.params import param
from tests.dagster_dev import DagsterDev, Found, end
from tests.faults.child import HELD, HOLD, LOG
from tests.loopback import free_port, listens
from tests.project import ROOT, Project
from tests.small_project import models_stood_in_for

LOCATION = "tests/faults/stood_in.py"
LONGEST_WAIT = 600.0
CODE, WEBSERVER, DAEMON = "code server", "webserver", "daemon"
BACKFILL = """mutation {
    launchPartitionBackfill(backfillParams: { assetSelection: [%s], partitionNames: ["%s"] }) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
    } }"""


def observed_project(folder: Path) -> Project:
    """A project in a folder with settings that have been observed; nothing is made."""
    project = Project(folder, (folder / "settings.toml").read_text())
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        observe = build_defs(project.settings).resolve_job_def("observe_settings")
        assert observe.execute_in_process(instance=instance).success
    return project


def made_project(folder: Path) -> Project:
    """The same, with everything made."""
    project = observed_project(folder)
    defs = build_defs(project.settings)
    asked = dg.AssetSelection.all() - dg.AssetSelection.groups("studies", "params")
    keys = asked.resolve(defs.resolve_asset_graph())
    everything = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    with models_stood_in_for(), dg.DagsterInstance.from_config(str(project.home)) as instance:
        assert everything.execute_in_process(instance=instance, partition_key="one").success
    return project


def stored(folder: Path) -> list[str]:
    """The items that runs of a project have stored so far, as kind and key."""
    words = [line.split() for line in lines(folder)]
    return [" ".join(rest) for event, _, *rest in words if event == "stored"]


def lines(folder: Path) -> list[str]:
    """What runs of a project have logged so far."""
    log = folder / LOG
    return log.read_text().splitlines() if log.exists() else []


class Served(DagsterDev):
    """The services of a project, watched through their instance."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project = project
        self.hold = project.folder / HOLD
        self._port, web_port = free_port(), free_port()
        workspace = project.folder / "workspace.yaml"
        server = {"host": "127.0.0.1", "port": self._port, "location_name": "onaspr"}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        code = ("dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(self._port))
        self._words: dict[str, Sequence[str]] = {
            CODE: (*code, "--python-file", LOCATION, "--location-name", "onaspr"),
            WEBSERVER: ("dagster_webserver", "--host", "127.0.0.1", "--port", str(web_port)),
            DAEMON: ("dagster._daemon", "run"),
        }
        for name in (WEBSERVER, DAEMON):
            self._words[name] = (*self._words[name], "--workspace", str(workspace))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: list[subprocess.Popen[bytes]] = []
        log = project.folder / "services.log"
        log.touch()
        super().__init__(None, f"http://127.0.0.1:{web_port}", instance, log)

    def wait(self, what: str, look: Callable[[], Found | None], seconds: float = LONGEST_WAIT) -> Found:
        """Wait longer than where nothing is killed: a run that had not begun is missed after minutes."""
        return super().wait(what, look, seconds)

    def ended(self) -> str:
        """Name the services that should run and have ended; empty where none has."""
        return " and ".join(name for name, process in self._running.items() if process.poll() is not None)

    def start(self, name: str) -> None:
        """Start a service; wait until it answers where it does so."""
        with self.log.open("ab") as file:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *self._words[name]],
                cwd=ROOT,
                env=self.project.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if name == CODE:
            self.wait("the code server", lambda: listens(self._port))
        elif name == WEBSERVER:
            self.wait("the code location", self.loaded)

    def kill(self, name: str) -> None:
        """Kill a service and nothing else: what it has started lives on."""
        process = self._running.pop(name)
        self._killed.append(process)
        assert process.poll() is None, f"the {name} had ended by itself\n{self.tail()}"
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def kill_all(self, *names: str) -> None:
        """Kill services and all that they have started, such as runs."""
        for name in names or list(self._running):
            process = self._running.pop(name)
            self._killed.append(process)
            end(process)

    def end(self) -> None:
        """Leave no process."""
        self.hold.unlink(missing_ok=True)
        self.kill_all()
        for process in self._killed:
            end(process)

    def wait_until_observed(self, saved: float) -> None:
        """Wait until the eta that was saved at a moment has been observed."""

        def observed() -> bool:
            records = self.instance.fetch_observations(param("eta"), limit=1).records
            return bool(records) and records[0].timestamp > saved

        self.wait("the new eta to be observed", observed)

    def wait_until_held(self) -> None:
        """Wait until a run that has stored a video is held."""
        self.wait("a run in the middle of its work", self._held)

    def _held(self) -> bool:
        return any(line.startswith(HELD) for line in lines(self.project.folder)[-1:])

    def going(self) -> list[str]:
        """The runs whose process has begun and not ended."""
        started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        return [run.run_id for run in self.instance.get_runs(started)]

    def failed(self, run_id: str) -> bool:
        """Say whether a run is told as failed."""
        run = self.instance.get_run_by_id(run_id)
        return run is not None and run.status == dg.DagsterRunStatus.FAILURE

    def backfill(self, names: Sequence[str], partition: str) -> str:
        """Launch a backfill of some assets, as the UI does; return its id."""
        chosen = ", ".join(f'{{ path: ["{name}"] }}' for name in names)
        told = self.wait("the backfill to be launched", lambda: self.ask(BACKFILL % (chosen, partition)))
        launched = told["launchPartitionBackfill"]
        assert "backfillId" in launched, launched
        return str(launched["backfillId"])

    def is_complete(self, backfill: str) -> bool:
        """Say whether a backfill has ended well."""
        found = self.instance.get_backfill(backfill)
        return found is not None and found.status == BulkActionStatus.COMPLETED_SUCCESS


@contextmanager
def serving(project: Project) -> Iterator[Served]:
    """The services of a project; at the end no process is left."""
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        served = Served(project, instance)
        try:
            for name in (CODE, WEBSERVER, DAEMON):
                served.start(name)
            yield served
        finally:
            served.end()
