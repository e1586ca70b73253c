"""The condition of what shows whatever exists: a report of two experiments' pages and a study."""

import itertools
import warnings

import dagster as dg
import pytest

from onaspr_assets.automation import show_what_there_is

EXPERIMENTS = dg.StaticPartitionsDefinition(["one", "two"])


class House:
    """`page`, one for each experiment, and `study`, which nobody asks for; `report` is made from both."""

    def __init__(self) -> None:
        self.broken = False
        self.version = "0"
        self.versions = itertools.count(1)
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: object = None

        @dg.asset(partitions_def=EXPERIMENTS)
        def page() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(self.version))

        @dg.asset
        def study() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(self.version))

        @dg.asset(deps=[page, study], automation_condition=show_what_there_is())
        def report() -> None:
            if self.broken:
                raise RuntimeError

        self.defs = dg.Definitions([page, study, report])

    def change(self, asset: str, partition: str | None = None, version: str | None = None) -> None:
        """Make an asset with another version, or with the one that is given."""
        self.version = version or str(next(self.versions))
        self.run(asset, partition)

    def run(self, asset: str, partition: str | None = None) -> None:
        job = self.defs.resolve_implicit_global_asset_job_def()
        job.get_subset(asset_selection={dg.AssetKey(asset)}).execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False
        )

    def asked(self) -> bool:
        """Tick once, and make the report if it is asked for."""
        result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)  # type: ignore[arg-type]
        self.cursor = result.cursor
        wanted = any(not one.true_subset.is_empty for one in result.results)
        if wanted:
            self.run("report")
        return wanted


@pytest.fixture
def house() -> House:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return House()


def test_nothing_is_shown_before_there_is_something(house: House) -> None:
    assert not house.asked() and not house.asked()
    house.change("page", "one")
    assert house.asked(), "the other page and the study are not waited for"
    assert not house.asked()


def test_it_is_made_again_for_every_change_of_what_it_shows_and_for_nothing_else(house: House) -> None:
    house.change("page", "one", "first")
    assert house.asked() and not house.asked()
    house.change("page", "one", "first")
    assert not house.asked(), "made again with an equal version"
    for asset, partition in (("page", "one"), ("page", "two"), ("study", None)):
        house.change(asset, partition)
        assert house.asked(), asset
        assert not house.asked(), asset


def test_a_failure_is_tried_once_more_and_then_waits_for_a_change(house: House) -> None:
    house.broken = True
    house.change("page", "one")
    assert house.asked()
    assert house.asked()
    assert not house.asked() and not house.asked()
    house.broken = False
    house.change("page", "one")
    assert house.asked() and not house.asked()
