import multiprocessing
from pathlib import Path

import pytest

from onaspr_core.catalog import Catalog
from onaspr_core.errors import UserError


def add_rows(path: str, worker: int) -> None:
    for number in range(20):
        with Catalog(path).write() as connection:
            connection.execute("create table if not exists rows (worker integer, number integer)")
            connection.execute("insert into rows values (?, ?)", [worker, number])


def test_processes_that_write_at_once_take_turns_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "catalog.duckdb"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_rows, args=(str(path), worker)) for worker in range(3)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    with Catalog(path).read() as connection:
        assert connection.execute("select count(*), count(distinct worker) from rows").fetchone() == (60, 3)


def test_an_error_rolls_the_whole_transaction_back(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.duckdb")
    with catalog.write() as connection:
        connection.execute("create table rows (number integer)")
    with pytest.raises(ZeroDivisionError), catalog.write() as connection:
        connection.execute("insert into rows values (1)")
        raise ZeroDivisionError
    with catalog.read() as connection:
        assert connection.execute("select count(*) from rows").fetchone() == (0,)


def test_reading_a_catalog_that_does_not_exist_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    with Catalog(tmp_path / "catalog.duckdb").read() as connection:
        assert connection.execute("show tables").fetchall() == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_catalog_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match=r"catalog\.duckdb cannot be opened"), Catalog(path).read():
        pass
