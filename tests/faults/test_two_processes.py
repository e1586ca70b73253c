"""Two runs of everything at once: what one run makes, each item once, and both end."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.child import LOG, materialize, start
from tests.faults.conftest import Undisturbed
from tests.faults.kept import Watch, kept


def test_two_runs_at_once_make_what_one_makes_and_nothing_twice(
    new_project: Callable[[str], Path], undisturbed: Undisturbed
) -> None:
    folder = new_project("two")
    processes = [start(materialize, folder) for _ in range(2)]
    watch = Watch(folder)
    for process in processes:
        while process.is_alive():
            watch.look()
            process.join(0.05)
    assert [process.exitcode for process in processes] == [0, 0]
    assert kept(folder) == undisturbed.kept
    lines = [line.split() for line in (folder / LOG).read_text().splitlines()]
    stored = Counter(tuple(words[2:]) for words in lines if words[0] == "stored")
    assert stored and set(stored.values()) == {1}
    assert sum(int(words[2]) for words in lines if words[0] == "begin") == undisturbed.begun
