"""`python -m onaspr_core.retrieval POOL PROMPT`: print the captioned clips nearest to a prompt."""

import argparse
import sys

from onaspr_core.errors import PlainError
from onaspr_core.retrieval.lookup import CaptionSearch
from onaspr_core.settings import default_path, load_settings
from onaspr_core.workspace import Workspace


def main(arguments: list[str] | None = None) -> int:
    """Print similarity, rank, pair and caption of each; return 1, with a sentence, where it fails."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.retrieval", description=__doc__)
    parser.add_argument("pool", help="a name under [pools] in the settings")
    parser.add_argument("prompt", help="any text")
    parser.add_argument("-k", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--size", type=int, help="search the pool as it would be with so many pairs")
    parser.add_argument("--exact", action="store_true", help="score all captions, without the index")
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        search = CaptionSearch(Workspace(load_settings(chosen.settings)), chosen.pool, in_memory=False)
        found = search.search(chosen.prompt, chosen.k, chosen.size, chosen.exact)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{'cosine':>7}  {'rank':>19}  pair, caption")
    for one in found:
        print(f"{one.similarity:7.4f}  {one.rank_in_pool:19d}  {one.pair_id}, {one.caption}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
