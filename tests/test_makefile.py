"""What `make` does for whoever looks after the machine: the port it opens, the list of what is installed."""

import json
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent


def make(*words: str) -> str:
    """Run make with this Python's environment in the place of the project's own, which is not looked at."""
    bin_ = f"BIN={Path(sys.executable).parent}"
    command = ["make", "--no-print-directory", "-o", "install", "-o", "world", bin_, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_dagster_listens_on_loopback_only() -> None:
    started = [line for line in make("-n", "ui").splitlines() if "dagster dev" in line]
    assert [re.findall(r"(?:--host|-h)[ =](\S+)", line) for line in started] == [["127.0.0.1"]]
    for file in (*ROOT.glob("onaspr_*/**/*.py"), *ROOT.glob("*.yaml"), ROOT / "Makefile", ROOT / "README.md"):
        assert not re.search(r"(?<!\d)0\.0\.0\.0(?!/)", file.read_text(encoding="utf-8")), file


def test_the_bill_of_materials_names_what_is_installed_and_its_licences(tmp_path: Path) -> None:
    make("licences", f"LICENCES={tmp_path}")
    bill = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "onaspr"
    components = {one["name"].lower(): one for one in bill["components"]}
    # Ray puts packages of its own on the path of who imports it.
    installed = {one.metadata["Name"].lower() for one in distributions(path=[sysconfig.get_path("purelib")])}
    assert {"dagster", "torch", "av"} <= installed & components.keys()
    assert installed - components.keys() <= {"onaspr"}
    assert all(components[name].get("licenses") for name in ("dagster", "torch", "av"))
    report = (tmp_path / "licences.md").read_text()
    assert re.search(r"^\| av +\| \S+ +\| BSD-3-Clause", report, re.MULTILINE)
    assert str(ROOT) not in report
