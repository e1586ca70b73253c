"""The code location on Kubernetes: KubeRay makes a Ray cluster for each run that has something to make.

A run that finds all its items asks for no cluster. One that makes some gets a RayJob, which ends with it.
"""

import os
from importlib.metadata import version
from typing import Any

import dagster as dg
from dagster_ray import Lifecycle
from dagster_ray.kuberay import KubeRayInteractiveJob, RayClusterSpec
from dagster_ray.kuberay.configs import AuthOptions
from dagster_ray.kuberay.resources.rayjob import InteractiveRayJobConfig, InteractiveRayJobSpec

from onaspr_assets.build import build_defs

NAMESPACE = "onaspr"
DATA = "/srv/onaspr"
SECONDS_TO_START = 1800
"""Machines with GPUs may have to be found, and pull the image."""

ABANDONED = SECONDS_TO_START + 300
"""In seconds. KubeRay ends a cluster that no run has connected to by then."""

LONGEST_RUN = 14 * 24 * 3600
"""In seconds. KubeRay ends what takes longer; what was made is kept."""


def pod(name: str, image: str, cpus: int, memory: str, gpus: int = 0) -> dict[str, Any]:
    """Return a pod of the cluster: the image of the runs, and the volume that they share, under one path."""
    share: dict[str, Any] = {"cpu": str(cpus), "memory": memory}
    if gpus:
        share["nvidia.com/gpu"] = gpus
    container = {
        "name": name,
        "image": image,
        "resources": {"requests": share, "limits": share},
        # Settings of an object store and of a hub of models, where there are any.
        "envFrom": [{"secretRef": {"name": "onaspr-keys", "optional": True}}],
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "ray", "mountPath": "/tmp/ray"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
            "containers": [container],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "onaspr-data"}},
                {"name": "ray", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        }
    }


def cluster(image: str, workers: int) -> KubeRayInteractiveJob:
    """Return the resource that makes a cluster: a head without work, and workers of one GPU each."""
    spec = RayClusterSpec(
        ray_version=version("ray"),
        auth_options=AuthOptions(mode="token", secret_name="onaspr-ray-token"),
        head_group_spec={
            "serviceType": "ClusterIP",
            "rayStartParams": {"num-cpus": "0"},
            "template": pod("head", image, cpus=2, memory="8Gi"),
        },
        worker_group_specs=[
            {
                "groupName": "gpu",
                "replicas": workers,
                "minReplicas": workers,
                "maxReplicas": workers,
                "rayStartParams": {},
                "template": pod("worker", image, cpus=4, memory="32Gi", gpus=1),
            }
        ],
    )
    job = InteractiveRayJobSpec(
        ray_cluster_spec=spec,
        active_deadline_seconds=LONGEST_RUN,
        pre_running_deadline_seconds=ABANDONED,
    )
    return KubeRayInteractiveJob(
        lifecycle=Lifecycle(create=False),
        ray_job=InteractiveRayJobConfig(metadata={"namespace": NAMESPACE}, spec=job),
        ray_init_options={"log_to_driver": False},
        timeout=SECONDS_TO_START,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Build the graph, with ONASPR_GPU_WORKERS workers of the image ONASPR_IMAGE."""
    workers = int(os.environ.get("ONASPR_GPU_WORKERS", "8"))
    made = cluster(os.environ["ONASPR_IMAGE"], workers)
    return build_defs(os.environ.get("ONASPR_SETTINGS") or f"{DATA}/settings.toml", {"cluster": made})
