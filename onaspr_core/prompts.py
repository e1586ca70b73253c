"""The prompts of an experiment: read from the user's file or from its benchmark, kept in the catalog.

A prompt file is text (one prompt a line), CSV or JSONL with columns `prompt` and, if given, `id`; further
columns are attributes that evaluation may use. How prompts are rewritten is the business of `rewriting`.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onaspr_core.artifacts import canonical_json, content_key
from onaspr_core.compute import Failure, Outcome, Preview, row_outcome
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmark_lists import read_benchmark
from onaspr_core.markdown import cell
from onaspr_core.paths import resolve
from onaspr_core.pool.texts import storable
from onaspr_core.settings import PROMPTS_OF_BENCHMARK, Experiment
from onaspr_core.workspace import Workspace

TABLE = """create table if not exists prompts (
    experiment text, position integer, id text, text text, attributes text, key text,
    primary key (experiment, id))"""


@dataclass(frozen=True)
class Prompt:
    """One prompt; `attributes` are the further columns of its row, if any."""

    id: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Content key of the prompt."""
        return content_key("prompt", id=self.id, text=self.text, attributes=dict(self.attributes))


def read_prompt_file(path: str | Path) -> list[Prompt]:
    """Read a prompt file; the suffix tells its form (.txt, .csv, .jsonl).

    Raises:
        UserError: when the file cannot be read, has no prompt column, an empty prompt or an id twice.
    """
    file = Path(path)
    try:
        rows = list(_rows(file))
    except (OSError, ValueError, RecursionError, csv.Error) as problem:
        raise UserError(f"prompt file {file} cannot be read: {problem}") from problem
    prompts = []
    for number, row in enumerate(rows, 1):
        text = " ".join(row.pop("prompt", "").split())
        if not text:
            raise UserError(f"prompt file {file}, row {number}: no text under `prompt`")
        prompts.append(Prompt(row.pop("id", "") or f"{number:05d}", text, row))
    if not prompts:
        raise UserError(f"prompt file {file} holds no prompt; write one a line")
    ids = [prompt.id for prompt in prompts]
    twice = sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise UserError(f"prompt file {file}: id {twice[0]!r} stands in more than one row; make ids unique")
    return prompts


def _rows(file: Path) -> Iterator[dict[str, str]]:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".txt":
        yield from ({"prompt": line} for line in text.splitlines() if line.strip())
    elif file.suffix == ".csv":
        yield from (
            {key: value for key, value in row.items() if key and value}
            for row in csv.DictReader(text.splitlines(keepends=True))
        )
    elif file.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield _json_row(json.loads(line), file, number)
    else:
        raise UserError(f"prompt file {file}: unknown suffix {file.suffix!r}; allowed: .txt, .csv, .jsonl")


def _json_row(value: Any, file: Path, number: int) -> dict[str, str]:
    if not isinstance(value, dict):
        got = repr(value)[:80]
        raise UserError(f"prompt file {file}, line {number}: expected an object with `prompt`, got {got}")
    return {storable(key): storable(str(inner)) for key, inner in value.items() if inner is not None}


def experiment_prompts(workspace: Workspace, experiment: Experiment) -> tuple[list[Prompt], list[Failure]]:
    """Read the prompts of an experiment as they are now, up to its limit, and which of them cannot be used.

    With `prompts = "benchmark"` they are the captions of the benchmark, under the ids of its videos; one
    whose row has no caption or file is a Failure.

    Raises:
        UserError: when the file or the benchmark's list cannot be read, or holds no prompt.
    """
    base, limit = workspace.settings.base, experiment.prompt_limit
    benchmark = experiment.evaluation.benchmark
    if experiment.prompts != PROMPTS_OF_BENCHMARK or benchmark is None:
        return read_prompt_file(resolve(experiment.prompts, base))[:limit], []
    rows = read_benchmark(benchmark, base).rows[:limit]
    failures = [Failure(row.id, row.problem) for row in rows if row.problem]
    prompts = [Prompt(row.id, row.caption, row.extra) for row in rows if not row.problem]
    if not prompts:
        raise UserError(f"benchmark list {benchmark.path} holds no prompt: {failures[0].reason}")
    return prompts, failures


def ingest_prompts(workspace: Workspace, experiment: Experiment) -> Outcome:
    """Bring an experiment's prompts into the catalog; those that its file or benchmark lacks disappear."""
    prompts, failures = experiment_prompts(workspace, experiment)
    keys = [prompt.key for prompt in prompts]
    rows = [
        [experiment.name, position, prompt.id, prompt.text, canonical_json(prompt.attributes), prompt.key]
        for position, prompt in enumerate(prompts)
    ]
    with workspace.catalog.write() as connection:
        connection.execute(TABLE)
        before = connection.execute(
            "select key from prompts where experiment = ?", [experiment.name]
        ).fetchall()
        connection.execute("delete from prompts where experiment = ?", [experiment.name])
        connection.executemany("insert into prompts values (?, ?, ?, ?, ?, ?)", rows)
    listing = "\n".join(f"- {cell(prompt.text)}" for prompt in prompts[:20])
    return replace(
        row_outcome(before={key for (key,) in before}, after=keys, failures=failures),
        preview=Preview(markdown=f"The first of {len(prompts)} prompts:\n\n{listing}"),
    )


def load_prompts(workspace: Workspace, experiment: Experiment) -> list[Prompt]:
    """Return an experiment's prompts in the order of its file or benchmark.

    Raises:
        UserError: when the prompts have not been materialized.
    """
    rows = workspace.catalog.rows(
        "select id, text, attributes from prompts where experiment = ? order by position", [experiment.name]
    )
    if not rows:
        raise UserError(f"experiment {experiment.name} has no prompts yet; materialize the asset `prompts`")
    return [Prompt(id_, text, json.loads(attributes)) for id_, text, attributes in rows]
