"""The files of examples/deploy: they name what exists, agree with each other, and load."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
import yaml
from dagster_ray.kuberay.client import RayJobClient

from tests.deploy.layouts import (
    COMMANDS,
    COMPOSE,
    DEPLOY,
    OURS,
    container,
    from_environment,
    kuberay,
    objects,
    parse,
    read,
    validate,
    variables,
)
from tests.project import ROOT

PAGE = (ROOT / "docs/clusters.md").read_text()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_exists_with_its_options(words: list[str]) -> None:
    copies = dockerfile_copies()
    files = {word: str(ROOT / copies[Path(word).name]) for word in words if word.endswith((".py", ".yaml"))}
    assert parse([files.get(word, word) for word in words]) is not None


def dockerfile_copies() -> dict[str, str]:
    """What the image holds, by its name there, and where it comes from."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    found = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    return {Path(name).name: name for names in found for name in names}


def test_the_image_is_made_of_what_exists_and_is_let_in_and_does_not_run_as_root() -> None:
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name in dockerfile_copies().values():
        assert (ROOT / name).exists(), name
        assert any(name.startswith(one[1:]) for one in let_in if one.startswith("!")), name
    steps = (DEPLOY / "Dockerfile").read_text()
    assert [line.split()[1] for line in steps.splitlines() if line.startswith("USER ")] == ["10001:10001"]
    installs = [line for line in steps.splitlines() if "pip install" in line]
    assert installs and all("-c constraints.txt" in line for line in installs)


def test_only_the_webserver_is_published_and_on_loopback_alone() -> None:
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one}
    assert published == {"webserver": ["127.0.0.1:3000:3000"]}
    kinds = {kind for kind, _ in objects()}
    assert "Ingress" not in kinds
    services = [one["spec"] for (kind, _), one in objects().items() if kind == "Service"]
    assert services and not any("type" in spec for spec in services)
    policy = objects()["NetworkPolicy", "onaspr"]["spec"]
    assert (policy["podSelector"], policy["policyTypes"]) == ({}, ["Ingress"])
    assert {"podSelector": {}} in [source for rule in policy["ingress"] for source in rule["from"]]
    assert all(rule["from"] for rule in policy["ingress"])


def test_no_pod_runs_as_root() -> None:
    pods = {
        name: one["spec"]["template"]["spec"]
        for (kind, name), one in objects().items()
        if kind == "Deployment"
    }
    assert set(pods) == {"postgres", "code", "webserver", "daemon"}
    for name, pod in pods.items():
        told = pod["securityContext"]
        assert told["runAsNonRoot"] and told["runAsUser"] and told["fsGroup"], name


def test_secrets_come_from_the_environment_and_every_variable_is_documented() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    passed_on = {name for name, value in COMPOSE["services"]["code"]["environment"].items() if value is None}
    for name in variables(text) | passed_on | {"ONASPR_RUNS_HERE", "ONASPR_IMAGE", "ONASPR_GPU_WORKERS"}:
        assert f"`{name}`" in PAGE, name
    assert {"OPENAI_API_KEY", "RAY_AUTH_TOKEN"} <= passed_on
    assert "${ONASPR_POSTGRES_PASSWORD:?" in text and "${ONASPR_DATA:?" in text
    assert ("Secret", "onaspr-postgres") not in objects()
    for secret in ("onaspr-postgres", "onaspr-ray-token", "onaspr-keys"):
        assert f"kubectl -n onaspr create secret generic {secret} " in PAGE


def test_the_instance_is_the_house_s_with_a_database_and_every_service_can_open_it() -> None:
    instance = read("dagster.yaml")
    for key, value in yaml.safe_load((ROOT / "dagster.yaml").read_text()).items():
        assert instance[key] == value, key
    asked = from_environment(instance)
    assert "ONASPR_POSTGRES_PASSWORD" in asked
    given = objects()["ConfigMap", "onaspr"]["data"]
    for name in OURS:
        assert asked <= set(COMPOSE["services"][name]["environment"]), name
        sources = container(name)["envFrom"]
        assert {"configMapRef": {"name": "onaspr"}} in sources
        assert {"secretRef": {"name": "onaspr-postgres"}} in sources
    assert asked == {*given, "ONASPR_POSTGRES_PASSWORD"}
    compose = COMPOSE["services"]["code"]["environment"]
    assert {name: compose[name] for name in given} == given


def test_the_workspace_names_the_code_location_of_both_layouts() -> None:
    (location,) = (one["grpc_server"] for one in read("workspace.yaml")["load_from"])
    for words in (COMPOSE["services"]["code"]["command"], container("code")["command"]):
        options = parse(words)
        assert (options["port"], options["location_name"]) == (location["port"], location["location_name"])
    assert location["host"] in COMPOSE["services"]
    (port,) = objects()["Service", location["host"]]["spec"]["ports"]
    assert port["port"] == location["port"]
    assert objects()["Service", location["host"]]["spec"]["selector"] == {"app": "code"}


def test_what_kuberay_is_asked_for_exists_and_lies_at_the_path_that_the_runs_use() -> None:
    code = container("code")
    told = {one["name"]: one.get("value", "") for one in code["env"]}
    made = kuberay().cluster(told["ONASPR_IMAGE"], int(told["ONASPR_GPU_WORKERS"]))
    context: Any = SimpleNamespace(log=object())
    job = made.ray_job.to_k8s(context)["spec"]
    assert made.timeout < job["preRunningDeadlineSeconds"] < job["activeDeadlineSeconds"]
    spec = job["rayClusterSpec"]
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert workers["replicas"] == 8
    pods = [group["template"]["spec"] for group in (head, workers)]
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in pods]
    assert gpus == [None, 1]
    own = objects()["Deployment", "code"]["spec"]["template"]["spec"]
    for pod in pods:
        (one,) = pod["containers"]
        assert one["image"] == code["image"]
        assert code["volumeMounts"][0] in one["volumeMounts"]
        assert own["volumes"][0] in pod["volumes"]
        assert {mount["name"] for mount in one["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }
        assert pod["securityContext"] == own["securityContext"]
    assert own["volumes"][0]["persistentVolumeClaim"]["claimName"] == "onaspr-data"
    assert ("PersistentVolumeClaim", "onaspr-data") in objects()
    token = next(one for one in code["env"] if one["name"] == "RAY_AUTH_TOKEN")["valueFrom"]["secretKeyRef"]
    assert spec["authOptions"] == {"mode": "token", "secretName": token["name"]}
    assert told["RAY_AUTH_MODE"] == "token"
    assert made.ray_job.namespace == objects()["Namespace", "onaspr"]["metadata"]["name"]


def test_the_client_of_kubernetes_is_one_that_dagster_ray_can_call() -> None:
    kubernetes = pytest.importorskip("kubernetes")
    api = create_autospec(kubernetes.client.ApiClient, instance=True)
    api.call_api.return_value = ({}, 200, {})
    assert RayJobClient(api_client=api).update_json_patch("job", "onaspr", []) == {}


def test_the_definitions_of_a_layout_are_valid(served: Path) -> None:
    ran = validate(served, {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"})
    assert ran.returncode == 0, ran.stderr
    assert "Validation successful for code location onaspr" in ran.stderr + ran.stdout
