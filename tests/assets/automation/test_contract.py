"""A change to eta, gamma or the pool recomputes exactly what depends on it: the contract, row by row."""

import time

from tests.assets.automation.platform import Platform, Ran, assets, computed

EVERYTHING = 17


def test_everything_is_made_once_and_then_nothing(platform: Platform) -> None:
    t=time.time()
    first = platform.settle()
    print(time.time()-t)
    for r in first: print(r)
    t=time.time()
    assert len(assets(first)) == len(set(assets(first))) == EVERYTHING
    assert platform.settle() == []
    print(time.time()-t)
    platform.edit("eta = 0.5","eta = 0.7")
    t=time.time()
    for r in platform.settle(): print(r)
    print(time.time()-t)
