"""An option beyond the paper recomputes what depends on it: rows of the contract that only options have."""

import dagster as dg

from tests.assets.automation.platform import Platform, assets, computed
from tests.assets.automation.test_contract import AFTER_VIDEOS

ONA = ["ona_spr_videos", "ona_videos"]
SAMPLING = "sampling = { steps = 4"


def use(platform: Platform, option: str) -> None:
    """Write an option into the settings file."""
    platform.edit(SAMPLING, f"inversion.{option}\n{SAMPLING}")


def test_a_default_that_is_spelled_out_makes_nothing(settled: Platform) -> None:
    use(settled, 'whitening = "none"\ninversion.forward_diffusion_steps = 0\ninversion.neighbours = 1')
    assert settled.look() == 0
    assert settled.settle() == []


def test_whitening_makes_inverted_noise_and_what_is_mixed_from_it(settled: Platform) -> None:
    use(settled, 'whitening = "spatial"')
    ran = settled.settle()
    assert assets(ran) == sorted(["inverted_latents", *ONA, *AFTER_VIDEOS])
    made = computed(ran)
    assert {name: made[name] for name in ("inverted_latents", *ONA)} == dict.fromkeys(
        ("inverted_latents", *ONA), 3
    )
    event = settled.instance.get_latest_materialization_event(dg.AssetKey("inverted_latents"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert "whitening spatial" in str(metadata["what_moved"].value)
    numbers = ("mean", "variance", "kurtosis", "spatial_autocorrelation", "temporal_autocorrelation")
    assert {f"noise_{name}_mean" for name in numbers} | {"round_trip_error_mean", "picture"} <= set(metadata)


def test_the_gate_makes_the_videos_with_inverted_noise_alone(settled: Platform) -> None:
    use(settled, "similarity_gate = [0.999, 1.0]")
    ran = settled.settle()
    assert assets(ran) == sorted([*ONA, *AFTER_VIDEOS])
    assert not set(computed(ran)) & set(ONA), "all gates are shut: the videos are those without"


def test_more_neighbours_make_more_inverted_noise_and_the_videos_of_it(settled: Platform) -> None:
    use(settled, "neighbours = 2")
    ran = settled.settle()
    assert "baseline_videos" not in assets(ran) and "spr_videos" not in assets(ran)
    made = computed(ran)
    assert {name: made[name] for name in ONA} == dict.fromkeys(ONA, 3)
    assert 1 <= made["inverted_latents"] <= 3
    assert made.get("rewritten_prompts", 0) == 0
