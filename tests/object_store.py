"""A server of S3 on this machine, and what the tests of an object store ask of it."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.request import Request, urlopen

import fsspec
import pytest

SECRET = "planted-secret-of-the-object-store"


class ObjectStore:
    """A running server: how to reach it, what it was asked, and new buckets on it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "loopback",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        self.asked: list[str] = []
        self._numbers = count()

    @contextmanager
    def reached(self, **changed: str) -> Iterator[None]:
        """Within, what opens `s3://` in this process finds this server, with changes to the environment."""
        opened = fsspec.get_filesystem_class("s3")
        opened.clear_instance_cache()
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("AWS_SESSION_TOKEN", raising=False)
            patch.delitem(fsspec.config.conf, "s3", raising=False)
            for name, value in {**self.environment, **changed}.items():
                patch.setenv(name, value)
            try:
                yield
            finally:
                opened.clear_instance_cache()

    def new_bucket(self) -> str:
        """Make a bucket and return its URL; within `reached`."""
        name = f"bucket-{os.getpid()}-{next(self._numbers)}"
        self.aside().mkdir(name)
        return f"s3://{name}"

    @staticmethod
    def aside() -> Any:
        """Return a file system that knows nothing of the others here, as in another process; in `reached`."""
        return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Yield the requests made within, such as "GET /bucket/key HTTP/1.1"."""
        before, asked = len(self.asked), list[str]()
        yield asked
        asked += self.asked[before:]

    def keys_without_permission(self) -> dict[str, str]:
        """Return the environment of someone whom the server knows, and lets do nothing."""
        from botocore.session import get_session

        with self.reached():
            people = get_session().create_client("iam", endpoint_url=self.endpoint)
            name = f"reader-{next(self._numbers)}"
            people.create_user(UserName=name)
            key = people.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Within, the server looks at keys, and knows those of users alone."""
        self._look_at_keys("0")
        try:
            yield
        finally:
            self._look_at_keys("inf")

    def _look_at_keys(self, after: str) -> None:
        where, form = f"{self.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urlopen(Request(where, after.encode(), form, method="POST")).close()


class _Asked(logging.Handler):
    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        self._asked = asked

    def emit(self, record: logging.LogRecord) -> None:
        told = re.sub(r"\x1b\[[\d;]*m", "", record.getMessage())
        self._asked.append(told.partition('"')[2].partition('"')[0])


@contextmanager
def serving_s3() -> Iterator[ObjectStore]:
    """Serve S3 from this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    store = ObjectStore("http://{}:{}".format(*server.get_host_and_port()))
    log = logging.getLogger("werkzeug")
    before = (log.level, log.propagate, log.handlers[:])
    log.setLevel(logging.INFO)
    log.propagate, log.handlers = False, [_Asked(store.asked)]
    try:
        yield store
    finally:
        server.stop()
        log.setLevel(before[0])
        log.propagate, log.handlers = before[1:]
