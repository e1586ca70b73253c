"""`embed_captions` as a run of its own does it, for benchmarks: python _embed_captions.py ROOT MODEL.

What it did is printed as JSON.
"""

import json
import sys
from pathlib import Path

from _pools import workspace_at

from onaspr_core.retrieval.index import embed_captions

if __name__ == "__main__":
    outcome = embed_captions(workspace_at(Path(sys.argv[1]), sys.argv[2]))
    told = {"version": outcome.version, "computed": outcome.computed, "facts": dict(outcome.facts)}
    print(json.dumps(told))
