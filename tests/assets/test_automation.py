"""What waits for what: the condition on a chain of four assets, the first of them without partitions.

The contract of the real graph is in `tests/assets/automation`; here is what it cannot bring about quickly.
"""

import itertools
import warnings

import dagster as dg
import pytest

from onaspr_assets.automation import ancestors_of, recompute_what_changed

EXPERIMENTS = dg.StaticPartitionsDefinition(["one"])
PARENTS = {"stock": ["pool"], "middle": ["stock", "near"], "next": ["middle"], "last": ["next", "far"]}


class Chain:
    """pool → stock → middle → next → last, where `near` is a setting of middle and `far` one of last."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.bad: set[str] = set()
        self.made: list[str] = []
        self.versions = itertools.count()
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: object = None
        assets = [self._asset(name) for name in PARENTS]
        ancestors = ancestors_of(spec for asset in assets for spec in asset.specs)
        assets = list(
            dg.map_asset_specs(
                lambda spec: spec.replace_attributes(
                    automation_condition=recompute_what_changed(ancestors[spec.key])
                ),
                assets,
            )
        )
        self.defs = dg.Definitions(
            [*map(self._setting, ("pool", "near", "far")), *assets], asset_checks=[self._check()]
        )
        for setting in ("pool", "near", "far"):
            self.change(setting)

    def _setting(self, name: str) -> dg.SourceAsset:
        @dg.observable_source_asset(name=name, partitions_def=None if name == "pool" else EXPERIMENTS)
        def setting() -> dg.DataVersion:
            raise AssertionError

        return setting

    def _asset(self, name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=PARENTS[name], partitions_def=None if name == "stock" else EXPERIMENTS)
        def made() -> dg.MaterializeResult:
            if name in self.broken:
                raise RuntimeError(name)
            self.made.append(name)
            return dg.MaterializeResult(data_version=dg.DataVersion(str(next(self.versions))))

        return made

    def _check(self) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset="middle", blocking=True, partitions_def=EXPERIMENTS)
        def is_good() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed="middle" not in self.bad)

        return is_good

    def change(self, *settings: str) -> None:
        """Give settings another version."""
        for name in settings:
            partition = None if name == "pool" else "one"
            version = {"dagster/data_version": str(next(self.versions))}
            self.instance.report_runless_asset_event(
                dg.AssetObservation(name, partition=partition, tags=version)
            )

    def tick(self) -> set[str]:
        """Evaluate once; return the assets that are asked for."""
        result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)  # type: ignore[arg-type]
        self.cursor = result.cursor
        return {one.key.to_user_string() for one in result.results if one.true_subset.size}

    def run(self, *names: str) -> None:
        """Make assets, with their checks, as the daemon or a person would."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        job.get_subset(asset_selection={dg.AssetKey(name) for name in names}).execute_in_process(
            instance=self.instance,
            partition_key=None if "stock" in names else "one",
            raise_on_error=False,
        )

    def settle(self) -> list[list[str]]:
        """Tick and run until a tick asks for nothing; return what was asked for, tick by tick."""
        asked = []
        while names := self.tick():
            asked.append(sorted(names))
            self.run(*names)
        return asked


@pytest.fixture
def chain() -> Chain:
    """The chain with everything made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Chain()
        assert made.settle() == [["stock"], ["middle"], ["next"], ["last"]]
    made.made.clear()
    return made


@pytest.mark.parametrize("setting", ["near", "pool"], ids=["same partitions", "other partitions"])
def test_a_change_at_both_ends_makes_everything_between_first_and_the_end_once(
    chain: Chain, setting: str
) -> None:
    chain.change(setting, "far")
    between = [["middle"], ["next"], ["last"]]
    assert chain.settle() == (between if setting == "near" else [["stock"], *between])


def test_the_end_waits_while_something_upstream_is_tried_once_more(chain: Chain) -> None:
    chain.broken = {"middle"}
    chain.change("near", "far")
    assert chain.tick() == {"middle"}
    chain.run("middle")
    assert chain.tick() == {"middle"}
    chain.broken.clear()
    chain.run("middle")
    assert chain.settle() == [["next"], ["last"]]


def test_what_failed_twice_upstream_is_not_waited_for(chain: Chain) -> None:
    chain.broken = {"middle"}
    chain.change("near", "far")
    assert chain.settle() == [["middle"], ["middle"], ["last"]]


def test_a_check_that_failed_far_upstream_keeps_the_end_from_being_made_twice(chain: Chain) -> None:
    chain.bad = {"middle"}
    chain.change("near")
    assert chain.settle() == [["middle"]]
    chain.change("far")
    assert chain.tick() == set(), "next waits for the check, and last for next"
    chain.bad.clear()
    chain.run("middle")
    assert chain.settle() == [["next"], ["last"]]
