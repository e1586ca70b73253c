"""`make ui` as a test sees it: webserver, daemon and runs as processes, watched through their instance.

What lives here: starting and ending them, waiting for what they do, and reading what ran. What a change
should make is the tests' business.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickStatus

from tests.assets.automation.platform import Ran
from tests.loopback import free_port
from tests.project import ROOT, Project

SETTINGS_SENSOR = "settings_sensor"
AUTOMATION = "recompute_what_changed"
PATIENCE = 240.0
LINES_SHOWN = 60
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""

Found = TypeVar("Found")


class DagsterDev:
    """A `dagster dev` that is up."""

    def __init__(
        self, process: "subprocess.Popen[bytes] | None", url: str, instance: dg.DagsterInstance, log: Path
    ) -> None:
        self.process, self.url, self.instance, self.log = process, url, instance, log
        self._told = {record.dagster_run.run_id for record in instance.get_run_records()}

    def wait(self, what: str, look: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
        """Look until there is something, and return it; fail with the end of the log where there never is."""
        deadline = time.monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            ended = self.ended()
            if ended or time.monotonic() > deadline:
                why = f"{ended} ended" if ended else f"not within {seconds:.0f} s"
                raise AssertionError(f"waited for {what}: {why}\n{self.tail()}")
            time.sleep(0.3)

    def ended(self) -> str:
        """Name what should run and has ended; empty where nothing has."""
        return "dagster dev" if self.process is not None and self.process.poll() is not None else ""

    def tail(self) -> str:
        """Return the last lines that the processes wrote."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(["… Dagster said:", *lines[-LINES_SHOWN:]])

    def ask(self, query: str) -> Any:
        """Return what the webserver answers to a GraphQL query; None while it does not listen."""
        asked = urllib.request.Request(
            f"{self.url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with suppress(OSError), urllib.request.urlopen(asked, timeout=30) as answer:
            return json.loads(answer.read())["data"]
        return None

    def loaded(self) -> bool:
        """Say whether the webserver answers and the code location is loaded.

        Raises:
            AssertionError: when the location cannot be loaded.
        """
        data = self.ask(LOADED) or {}
        entries = data.get("workspaceOrError", {}).get("locationEntries", [])
        for entry in entries:
            assert (entry["locationOrLoadError"] or {}).get("__typename") != "PythonError", entry
        return bool(entries) and all(
            entry["loadStatus"] == "LOADED" and entry["locationOrLoadError"] for entry in entries
        )

    def ticks(self, sensor: str, after: float) -> list[InstigatorTick]:
        """Return the finished ticks of a sensor that began after a moment, oldest first."""
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
            if state.instigator_name == sensor:
                ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after)
                ended = [tick for tick in ticks if tick.status != TickStatus.STARTED]
                return sorted(ended, key=lambda tick: tick.timestamp)
        return []

    def look_at_settings(self, after: float) -> InstigatorTick:
        """Wait for the first look at the settings that began after a moment."""
        return self.wait("a look at the settings", lambda: self.ticks(SETTINGS_SENSOR, after))[0]

    def evaluations(self, after: float, count: int = 1) -> list[InstigatorTick]:
        """Wait for so many evaluations of the automation that began after a moment."""

        def enough() -> list[InstigatorTick] | None:
            ticks = self.ticks(AUTOMATION, after)
            return ticks if len(ticks) >= count else None

        return self.wait(f"{count} evaluations", enough)

    def new_runs(self) -> list[dg.RunRecord]:
        """Return the runs that `settle` has not told of yet, oldest first."""
        records = self.instance.get_run_records(ascending=True)
        return [record for record in records if record.dagster_run.run_id not in self._told]

    def settle(self, saved: float, quiet: int = 1) -> list[Ran]:
        """Wait until what was saved at a moment has been read and made; return what ran since the last time.

        Made means: nothing runs, and so many evaluations that began after all of it asked for nothing.
        """
        read = self.look_at_settings(saved)

        def resting() -> list[dg.RunRecord] | bool:
            runs = self.new_runs()
            if not all(record.dagster_run.is_finished for record in runs):
                return False
            last = max([read.end_timestamp or 0.0, *(record.end_time or 0.0 for record in runs)])
            ticks = self.ticks(AUTOMATION, last)
            return len(ticks) >= quiet and all(tick.status == TickStatus.SKIPPED for tick in ticks)

        self.wait("everything to be made", resting, 2 * PATIENCE)
        runs = self.new_runs()
        self._told.update(record.dagster_run.run_id for record in runs)
        return [one for record in runs for one in self._ran(record.dagster_run)]

    def _ran(self, run: dg.DagsterRun) -> Iterator[Ran]:
        for entry in self.instance.all_logs(run.run_id):
            event = entry.dagster_event
            if event is None:
                continue
            if event.is_step_materialization:
                made = event.step_materialization_data.materialization
                counts = {name: made.metadata[f"items_{name}"].value for name in ("total", "computed")}
                yield Ran(made.asset_key.to_user_string(), made.partition, **counts)  # type: ignore[arg-type]
            elif event.is_step_failure:
                yield Ran(str(event.step_key), run.tags.get("dagster/partition"), -1, -1)


@contextmanager
def dagster_dev(project: Project) -> Iterator[DagsterDev]:
    """Start what `make ui` starts, on a project's home and settings; at the end no process is left."""
    log = project.folder / "dagster-dev.log"
    port = free_port()
    with log.open("wb") as file, dg.DagsterInstance.from_config(str(project.home)) as instance:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            cwd=ROOT,
            env=project.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            dev = DagsterDev(process, f"http://127.0.0.1:{port}", instance, log)
            dev.wait("the code location", dev.loaded)
            yield dev
        finally:
            end(process)


def end(leader: "subprocess.Popen[bytes]") -> None:
    """Kill a process, its session, and all that descends from it: runs live under the code server."""
    deadline = time.monotonic() + 30
    family = _family(leader.pid)
    while family and time.monotonic() < deadline:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        if leader.poll() is None:
            leader.wait(10)
        time.sleep(0.1)
        family = [one for one in {*family, *_family(leader.pid)} if _alive(one)]
    assert not family, f"still there: {family}"


def _family(leader: int) -> list[psutil.Process]:
    found = []
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(leader).children(recursive=True)
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and _alive(process):
                found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
