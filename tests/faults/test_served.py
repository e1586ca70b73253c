"""A change while services die and are started again, or a backfill runs beside it: it is carried out, once.

One webserver, one daemon and one code server serve all tests.
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.assets.automation.platform import Ran, assets
from tests.faults.child import materialize, start
from tests.faults.kept import kept
from tests.faults.served import CODE, DAEMON, WEBSERVER, Served, made_project, serving, stored
from tests.project import Project

pytestmark = pytest.mark.timeout(1200)

ONA = ["ona_spr_videos", "ona_videos"]
OF_ETA = sorted([*ONA, "figures", "gallery", "report", "scores", "tables"])
LONGEST = 240.0
"""Seconds after which a change without any fault hangs."""


@pytest.fixture(scope="module")
def project(new_project: Callable[[str], Path]) -> Project:
    """Everything made, with η 0.5."""
    return made_project(new_project("served"))


@pytest.fixture(scope="module")
def twin(project: Project) -> Path:
    """A copy that sees the same changes, and no fault."""
    return Path(shutil.copytree(project.folder, project.folder.with_name("twin"), symlinks=True))


@pytest.fixture(scope="module")
def services(project: Project, twin: Path) -> Iterator[Served]:
    with serving(project) as served:
        assert served.settle(0.0) == []
        yield served


@pytest.fixture
def served(services: Served) -> Iterator[Served]:
    """The services of these tests; where one of them fails, pytest shows the end of their log."""
    yield services
    print(services.tail())


@contextmanager
def changed(served: Served, twin: Path, eta: float) -> Iterator[tuple[float, list[Ran]]]:
    """Give η a new value, hold the run that comes of it in the middle of its work, and see how it ends.

    Yields when it was saved, and a list that is filled with what ran when all is quiet. Whatever was done
    meanwhile, it came to what it comes to in the twin, and each new item was stored once.
    """
    folder = served.project.folder
    present, begun = kept(folder).keys(), len(stored(folder))
    settings = twin / "settings.toml"
    (before,) = re.findall(r"^eta = .*$", settings.read_text(), re.MULTILINE)
    edit = (before, f"eta = {eta}")
    settings.write_text(settings.read_text().replace(*edit))
    undisturbed = start(materialize, twin)
    try:
        served.hold.touch()
        saved = served.project.edit(edit)
        ran: list[Ran] = []
        yield saved, ran
        served.hold.unlink(missing_ok=True)
        # Evaluations before now may have waited for what was done meanwhile.
        ran += served.settle(time.time())
        undisturbed.join(LONGEST)
        assert undisturbed.exitcode == 0, f"waited {LONGEST:.0f} s for the change in the twin"
    finally:
        served.hold.unlink(missing_ok=True)
        undisturbed.kill()
        undisturbed.join()
    assert {one.partition for one in ran if one.asset != "report"} == {"one"}
    found = kept(folder)
    assert found == kept(twin)
    assert Counter(stored(folder)[begun:]) == dict.fromkeys(found.keys() - present, 1)


def test_a_change_is_carried_out_once_though_daemon_and_webserver_are_killed_in_the_middle(
    served: Served, twin: Path
) -> None:
    with changed(served, twin, 0.7) as (saved, ran):
        served.wait_until_observed(saved)
        served.kill(DAEMON)
        served.start(DAEMON)
        served.wait_until_held()
        served.kill(WEBSERVER)
        served.kill(DAEMON)
        served.start(WEBSERVER)
        served.start(DAEMON)
    assert assets(ran) == OF_ETA


def test_a_backfill_beside_the_daemons_run_makes_nothing_twice_and_both_end(
    served: Served, twin: Path
) -> None:
    # A run that has nothing to do but wait for the GPU would stay in the queue.
    asked = ["prompts", *ONA]
    with changed(served, twin, 0.9) as (_, ran):
        served.wait_until_held()
        backfill = served.backfill(asked, "one")
        served.wait("the backfill's run beside the daemon's", lambda: len(served.going()) == 2)
        served.hold.unlink()
        served.wait("the backfill to be complete", lambda: served.is_complete(backfill))
    assert assets(ran) == sorted([*OF_ETA, *asked])
    assert sum(one.computed for one in ran if one.asset in ONA) == 2 * 3


def test_a_run_that_is_killed_with_its_code_server_is_finished_by_one_run(served: Served, twin: Path) -> None:
    with changed(served, twin, 1.1) as (_, ran):
        served.wait_until_held()
        (killed,) = served.going()
        served.kill_all(CODE)
        served.start(CODE)
    assert served.failed(killed)
    assert assets(ran) == OF_ETA
    # One had been stored when the run was killed.
    assert sum(one.computed for one in ran if one.asset in ONA) == 2 * 3 - 1
