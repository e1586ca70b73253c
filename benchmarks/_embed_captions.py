"""`embed_captions` as a run of its own does it, for benchmarks: _embed_captions.py ROOT MODEL [IMPORT …].

The modules named last are imported first. What it did is printed as JSON, and the seconds it took without
imports of its own and of those.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from _pools import workspace_at

from onaspr_core.retrieval.index import embed_captions

if __name__ == "__main__":
    for name in sys.argv[3:]:
        importlib.import_module(name)
    started = time.perf_counter()
    outcome = embed_captions(workspace_at(Path(sys.argv[1]), sys.argv[2]))
    seconds = time.perf_counter() - started
    told = {"version": outcome.version, "computed": outcome.computed, "facts": dict(outcome.facts)}
    print(json.dumps({**told, "seconds": seconds}))
