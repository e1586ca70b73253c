"""The rows that a pool's table should hold, and how those that it holds differ from them.

What does not belong here: reading and writing the table (`table`), and bringing it up to date (`index`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onaspr_core.artifacts import content_key
from onaspr_core.pool.manifest import pool_captions
from onaspr_core.retrieval.table import PAIR, ROW
from onaspr_core.workspace import Workspace


def wanted_rows(workspace: Workspace, fingerprint: str, pool: str, held: pa.Table | None = None) -> pa.Table:
    """Return the rows that a pool's table should hold, as `ROW`, by rank: captions with a clip.

    Args:
        workspace: Where.
        fingerprint: The embedder's.
        pool: The pool's name.
        held: Rows of the same embedder, as `ROW`: a caption among them has the key that it has there.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
    pairs = pool_captions(workspace, pool).combine_chunks()
    captions = pairs["caption"].combine_chunks().dictionary_encode()
    # Codes count up as captions first appear, and pairs come by rank: so do captions, and pairs within one.
    codes = captions.indices.to_numpy(zero_copy_only=False)
    order = pa.array(np.argsort(codes, kind="stable"))
    columns = (pairs[name].combine_chunks() for name in ("rank", "pair_id", "clip_key"))
    arrays = [column.cast(field.type).take(order) for column, field in zip(columns, PAIR, strict=True)]
    count = len(captions.dictionary)
    ends = np.cumsum(np.bincount(codes, minlength=count))
    starts = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    return pa.table(
        [
            _keys(captions.dictionary, fingerprint, held),
            captions.dictionary,
            arrays[0].take(pa.array(starts[:-1])),
            pa.ListArray.from_arrays(starts, pa.StructArray.from_arrays(arrays, fields=list(PAIR))),
        ],
        schema=ROW,
    )


def _keys(captions: pa.Array, fingerprint: str, held: pa.Table | None) -> pa.Array:
    """The key of each caption's embedding; to hash a hundred thousand takes longer than to compare them."""
    known = pa.nulls(len(captions), pa.string())
    if held is not None:
        at = pc.index_in(captions, value_set=held["caption"].combine_chunks())
        known = held["key"].combine_chunks().take(at)
    new = captions.filter(known.is_null()).to_pylist()
    keys = [content_key("caption", text=text, embedder=fingerprint) for text in new]
    return pc.replace_with_mask(known, known.is_null(), pa.array(keys, pa.string()))


def unlike(wanted: pa.Table, held: pa.Table) -> tuple[pa.Table, list[str]]:
    """Compare rows by key, both as `ROW`.

    Returns:
        The wanted rows that are not held as they should be, with a column `stored` that says whether a row
        of that key is held; and the keys that are held and not wanted.
    """
    at = pc.index_in(wanted["key"], value_set=held["key"].combine_chunks()).combine_chunks()
    stored = at.is_valid().to_numpy(zero_copy_only=False)
    both = np.flatnonzero(stored)
    ours, theirs = wanted.take(pa.array(both)), held.take(at.drop_null())
    changed = ~stored
    changed[both] = ~_equal(ours, theirs)
    rows = wanted.append_column("stored", pa.array(stored)).filter(pa.array(changed))
    gone = pc.invert(pc.is_in(held["key"], value_set=wanted["key"].combine_chunks()))
    return rows, held["key"].filter(gone).to_pylist()


def _equal(ours: pa.Table, theirs: pa.Table) -> npt.NDArray[np.bool_]:
    """Say of each row, (n,), whether caption, rank and pairs are equal; every row of `ours` has a pair."""
    lengths = _numbers(pc.list_value_length(ours["pairs"]))
    equal: npt.NDArray[np.bool_] = lengths == _numbers(pc.list_value_length(theirs["pairs"]))
    for name in ("caption", "rank"):
        equal &= _numbers(pc.equal(ours[name], theirs[name]))
    alike = np.flatnonzero(equal)
    if len(alike):
        one, other = (
            rows["pairs"].take(pa.array(alike)).combine_chunks().flatten() for rows in (ours, theirs)
        )
        same = np.ones(len(one), bool)
        for field in PAIR:
            same &= _numbers(pc.equal(one.field(field.name), other.field(field.name)))
        starts = np.cumsum(lengths[alike]) - lengths[alike]
        equal[alike] = np.logical_and.reduceat(same, starts)
    return equal


def _numbers(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    return np.asarray(column)
