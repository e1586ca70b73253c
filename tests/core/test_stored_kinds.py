"""What the store's kinds are called, and that each is made by an asset that the graph has."""

from onaspr_core import stored_kinds
from onaspr_core.variants import VARIANTS


def test_every_kind_names_the_asset_that_makes_it() -> None:
    kinds = {value for name, value in vars(stored_kinds).items() if name.isupper() and isinstance(value, str)}
    assert kinds == set(stored_kinds.ASSETS)


def test_a_video_is_made_by_the_asset_of_its_variant() -> None:
    told = [stored_kinds.asset_of(stored_kinds.VIDEO, {"variant": variant}) for variant in VARIANTS]
    assert told == [f"{variant}_videos" for variant in VARIANTS]
    assert stored_kinds.asset_of("another") == "the asset that makes it"
