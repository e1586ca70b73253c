"""Items on a disk beside items on a server of S3 on loopback: written, listed, read, and clips by range.

The server is moto's, in a process of its own: Python, which answers some hundred requests a second whatever
is asked of it. So the ratios tell what a request more or less costs, and not what a real object store does.
Needs the extra `dev`. No bar.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import fsspec
from _timing import interleaved, print_table

from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.pool.shards import Clip, read_clip_bytes, write_shard

ITEMS, SIZE = 200, 64 << 10
REPETITIONS = 3


def main() -> None:
    """Time each kind of work on both, in turn, and print a table."""
    with tempfile.TemporaryDirectory() as folder, serving():
        fsspec.filesystem("s3").mkdir("measured")
        roots = {"disk": folder, "S3": "s3://measured/store"}
        rows = []
        for name, work in WORK.items():
            seconds = interleaved({where: partial(work, root) for where, root in roots.items()}, REPETITIONS)
            rates = [ITEMS / median(seconds[where]) for where in roots]
            rows.append([name, *(f"{rate:.0f}" for rate in rates), f"{rates[0] / rates[1]:.1f}"])
    print(f"medians of {REPETITIONS} interleaved repetitions, {os.cpu_count()} cores, items a second")
    print(f"{ITEMS} items of {SIZE / 1e6:.2f} MB")
    print_table(["", *roots, "disk / S3"], rows)


def written(root: str) -> None:
    """Write every item anew."""
    store = ArtifactStore(f"{root}/artifacts")
    for key in KEYS:
        store.write("video", key, ".bin", PAYLOAD, {})


def listed(root: str) -> None:
    """Ask which items exist."""
    assert len(ArtifactStore(f"{root}/artifacts").existing("video", KEYS)) == ITEMS


def read_in_turn(root: str) -> None:
    """Read items one after another."""
    store = ArtifactStore(f"{root}/artifacts")
    for key in KEYS:
        store.read("video", key)


def read_together(root: str) -> None:
    """Read items as a stage reads those that it needs all of."""
    store = ArtifactStore(f"{root}/artifacts")
    assert len(list(store.map(partial(store.read, "video"), KEYS))) == ITEMS


def clips_read(root: str) -> None:
    """Read clips of one shard, each by its range."""
    shards = f"{root}/shards"
    places = write_shard(shards, [Clip(key, PAYLOAD, "a cat", {}) for key in KEYS])
    for place in places:
        read_clip_bytes(shards, place)


KEYS = [content_key("x", n=number) for number in range(ITEMS)]
PAYLOAD = os.urandom(SIZE)
WORK: dict[str, Callable[[str], None]] = {
    "written": written,
    "listed": listed,
    "read one after another": read_in_turn,
    "read several at once": read_together,
    "clips written as a shard, and read": clips_read,
}


@contextmanager
def serving() -> Iterator[None]:
    """Run moto's server, and let this process find it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "loopback",
        "AWS_SECRET_ACCESS_KEY": "loopback",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urlopen(f"{endpoint}/moto-api/").close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
