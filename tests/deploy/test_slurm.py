"""The Slurm script, run by commands that play an allocation of two machines on this one.

In the short form Ray and Dagster are played too, by commands that note what they were told. `make torture`
has the real ones make the clips of a small pool.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.loopback import free_port
from tests.project import ROOT
from tests.small_project import SETTINGS, write_world

SCRIPT = "examples/deploy/slurm.sh"
SELECTION = ("--select", "pool_manifest,pool_clips")
NOTE = 'echo "$(basename "$0") $*" >> "$NOTES"; echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >> "$NOTES.tokens"'

SLURM = {
    "scontrol": """[ "$1 $2" = "show hostnames" ] && printf 'machine1\\nmachine2\\n'""",
    "hostname": "echo 127.0.0.1 192.0.2.1",
    # As many processes as tasks, which end with it.
    "srun": """
        tasks=1
        while [[ $1 == -* ]]; do case $1 in --ntasks=*) tasks=${1#*=} ;; esac; shift; done
        trap 'kill $(jobs -pr)' TERM
        for ((n = 0; n < tasks; n++)); do "$@" & done
        wait
        wait""",
    "sbatch": """
        export SLURM_JOB_ID=$$ SLURM_JOB_NODELIST='machine[1-2]' SLURM_SUBMIT_DIR=$PWD SLURM_CPUS_PER_TASK=1
        script=$1
        shift
        exec bash "$script" "$@" """,
}
PLAYED = {
    "ray": f"""
        [ "$1" = health-check ] && exit 0
        trap 'kill $!; echo "ray ended" >> "$NOTES"; exit 0' TERM
        sleep 600 &
        {NOTE}
        wait $!""",
    "dagster": f"""
        [ "$1" = asset ] || {{ {NOTE}; exit 0; }}
        until grep -q "ray start --address" "$NOTES"; do sleep 0.05; done
        trap 'kill $!; sleep 1; echo "dagster ended" >> "$NOTES"; exit 1' TERM
        sleep 600 &
        {NOTE}
        [ "$ENDS" = never ] || {{ kill $!; exit "$ENDS"; }}
        wait $!""",
}


def allocation(folder: Path, commands: dict[str, str], engine: str = "ray") -> dict[str, str]:
    """Write a small project and commands into a folder; return the environment of who submits the job.

    The job is submitted from a checkout without `.venv`, whose commands the script would take instead.
    """
    write_world(folder)
    checkout = folder / "checkout"
    checkout.mkdir()
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (checkout / path.name).symlink_to(path)
    (folder / "settings.toml").write_text(f'{SETTINGS}\n[compute]\nengine = "{engine}"\n')
    (folder / "notes").touch()
    for name, body in commands.items():
        command = folder / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/bash\n{body}\n")
        command.chmod(0o755)
    return {
        **os.environ,
        "PWD": str(checkout),
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NOTES": str(folder / "notes"),
        "ENDS": "0",
        "DAGSTER_HOME": str(folder / "home"),
        "ONASPR_SETTINGS": str(folder / "settings.toml"),
        "ONASPR_RAY_PORT": str(free_port()),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def submit(environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["sbatch", SCRIPT, *SELECTION],
        cwd=environment["PWD"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def notes(folder: Path) -> list[str]:
    """What the played commands were told, and when they were ended."""
    return (folder / "notes").read_text().splitlines()


def test_the_script_is_sound() -> None:
    subprocess.run(["bash", "-n", SCRIPT], cwd=ROOT, check=True)


def test_ray_is_started_on_every_machine_with_a_token_and_ended_with_the_driver_s_status(
    tmp_path: Path,
) -> None:
    environment = allocation(tmp_path, SLURM | PLAYED) | {"ENDS": "3"}
    process = submit(environment)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 3, said
    told = notes(tmp_path)
    port = int(environment["ONASPR_RAY_PORT"])
    (head,) = [line for line in told if line.startswith("ray start --head")]
    assert f" --node-ip-address=127.0.0.1 --port={port} --ray-client-server-port={port + 1} " in head
    (worker,) = [line for line in told if line.startswith("ray start --address")]
    assert f" --address=127.0.0.1:{port} " in worker
    assert all("--num-cpus=1 " in line and "--block" in line for line in (head, worker))
    asked = [line for line in told if line.startswith("dagster")]
    assert asked[0].startswith("dagster job execute -f definitions.py -j observe_settings")
    assert asked[1:] == ["dagster asset materialize -f definitions.py -c console.yaml " + " ".join(SELECTION)]
    assert told.count("ray ended") == 2
    ((mode, token),) = {tuple(line.split()) for line in (tmp_path / "notes.tokens").read_text().splitlines()}
    assert mode == "token" and len(token) == 64
    assert token not in said


def test_at_the_end_of_its_time_the_run_is_told_before_ray_is(tmp_path: Path) -> None:
    process = submit(allocation(tmp_path, SLURM | PLAYED) | {"ENDS": "never"})
    deadline = time.monotonic() + 120
    while not any("materialize" in line for line in notes(tmp_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert [line for line in notes(tmp_path) if "ended" in line] == [
        "dagster ended",
        "ray ended",
        "ray ended",
    ]


def test_an_allocation_is_not_wasted_on_settings_that_do_not_use_it(tmp_path: Path) -> None:
    process = submit(allocation(tmp_path, SLURM | PLAYED, engine="local"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert 'set compute.engine = "ray"' in said
    assert notes(tmp_path) == []


@pytest.mark.skipif(not os.environ.get("ONASPR_LONG"), reason="the long form: make torture")
@pytest.mark.timeout(900)
def test_a_job_makes_clips_on_its_machines(tmp_path: Path) -> None:
    process = submit(allocation(tmp_path, SLURM))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "pool_clips: 6 items: 6 computed, 0 reused" in said
    assert "worker 1 has begun" in said
    assert said.count("Local node finished draining; shutting down.") == 2
    assert not Path(f"/tmp/ray-{process.pid}").exists()
