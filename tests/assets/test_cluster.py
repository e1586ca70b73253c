"""A run whose items are made on a cluster that a resource of dagster-ray knows."""

import json
from pathlib import Path

from tests.processes import run_python
from tests.small_project import SETTINGS, write_world

RUN = """
import json
import dagster as dg
import ray
from dagster_ray import Lifecycle, LocalRay
from onaspr_assets.build import build_defs
from onaspr_assets.pool import pool_clips, pool_manifest

connected = []

class Noted(LocalRay):
    def connect(self, context):
        connected.append(1)
        return super().connect(context)

here = {"num_cpus": 1, "include_dashboard": False, "_node_ip_address": "127.0.0.1", "log_to_driver": False}
cluster = Noted(lifecycle=Lifecycle(create=False), ray_init_options=here)
resources = build_defs("settings.toml", {"cluster": cluster}).resources
for _ in range(2):
    run = dg.materialize([pool_manifest, pool_clips], resources=resources)
    [clips] = run.asset_materializations_for_node("pool_clips")
    counts = [clips.metadata[f"items_{name}"].value for name in ("computed", "reused")]
    print(json.dumps([*counts, len(connected), ray.is_initialized()]))
"""


def test_the_cluster_is_connected_to_when_something_is_to_be_made_and_let_go_of(tmp_path: Path) -> None:
    write_world(tmp_path)
    (tmp_path / "settings.toml").write_text(SETTINGS + '\n[compute]\nengine = "ray"\n')
    ran = run_python(RUN, tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    assert told == [[6, 0, 1, False], [0, 6, 1, False]]  # computed, reused, how often connected, and still
