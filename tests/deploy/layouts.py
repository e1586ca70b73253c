"""What the files of examples/deploy say, read as the programs read them that they are written for."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import create_dagster_webserver_cli

from tests.project import ROOT

DEPLOY = ROOT / "examples/deploy"
PROGRAMS = {
    "dagster": create_dagster_cli,
    "dagster-daemon": create_dagster_daemon_cli,
    "dagster-webserver": create_dagster_webserver_cli,
}


def read(name: str) -> Any:
    """A YAML file."""
    return yaml.safe_load((DEPLOY / name).read_text())


@cache
def objects() -> Mapping[tuple[str, str], Any]:
    """What kubernetes.yaml makes, by kind and name."""
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def container(name: str) -> Any:
    """The one container of a deployment."""
    (found,) = objects()["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return found


def kuberay() -> ModuleType:
    """The code location of Kubernetes."""
    spec = importlib.util.spec_from_file_location("kuberay", DEPLOY / "kuberay.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command of Dagster's.

    Raises:
        click.UsageError: when it has no such subcommand or option.
    """
    command: click.Command = PROGRAMS[words[0]]()  # type: ignore[no-untyped-call]
    rest = list(words[1:])
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(click.Context(command), rest)
        assert found is not None
        command = found
    return command.make_context(words[0], rest).params


def variables(text: str) -> set[str]:
    """The variables of the environment that a compose file asks for."""
    return set(re.findall(r"\$\{(\w+)", text))


def from_environment(config: Any) -> set[str]:
    """The variables of the environment that an instance asks for."""
    if not isinstance(config, dict):
        return set()
    if set(config) == {"env"}:
        return {config["env"]}
    return set().union(*(from_environment(one) for one in config.values()))


OURS = ("code", "webserver", "daemon")
COMPOSE = read("compose.yaml")
COMMANDS = {
    **{f"compose {name}": COMPOSE["services"][name]["command"] for name in OURS},
    **{
        f"compose {name}, health": COMPOSE["services"][name]["healthcheck"]["test"][1:]
        for name in ("code", "daemon")
    },
    **{f"kubernetes {name}": container(name)["command"] for name in OURS},
    "kubernetes code, health": container("code")["readinessProbe"]["exec"]["command"],
    "kubernetes daemon, health": container("daemon")["livenessProbe"]["exec"]["command"],
}
"""What the layouts call, by where it stands."""


def validate(workspace: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `dagster definitions validate`."""
    words = ("dagster", "definitions", "validate", "--workspace", str(workspace))
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
