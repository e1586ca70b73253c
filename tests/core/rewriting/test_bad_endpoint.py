"""The whole stage against an endpoint that does everything wrong, prompt after prompt."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from onaspr_core.checks.rewriting import every_prompt_has_a_rewrite, few_originals_were_kept
from onaspr_core.rewriting.client import TRANSPORT_RETRIES
from onaspr_core.rewriting.stage import rewrite_prompts, rewrites_of
from tests.core.rewriting.bench import Bench
from tests.core.rewriting.endpoint import FakeEndpoint, Reply

GOOD = Reply("A small dog runs fast.")
BUSY = Reply(status=429, headers={"Retry-After": "0.01"})
FAILING = Reply(status=500)
HTML = Reply(body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"})
HALF = Reply(body=b'{"choices": [{"message": {"con', declared_length=500)
REFUSAL = Reply(body=b'{"choices": [{"message": {"content": null, "refusal": "I cannot help with that."}}]}')
ESSAY = Reply("A dog runs " + "and runs " * 2000)
GERMAN = Reply("Ein kleiner Hund rennt schnell.")
SLOW = Reply("A small dog runs fast.", seconds_between_bytes=0.05)
NEVER = Reply("A small dog runs fast.", seconds_before=1.5)
SECONDS = 1.0

Case = tuple[list[Reply], str | None]
"""What a prompt is answered, and why its original is kept."""

CASES: dict[str, Case] = {
    "busy, then well": ([BUSY, GOOD], None),
    "failing, then well": ([FAILING, FAILING, GOOD], None),
    "busy for ever": ([BUSY], "no_answer"),
    "html": ([HTML], "malformed"),
    "well": ([GOOD], None),
    "failing for ever": ([FAILING], "no_answer"),
    "half an answer": ([HALF], "malformed"),
    "a refusal": ([REFUSAL], "refusal"),
    "4,000 words": ([ESSAY], "too_long"),
    "another language, then well": ([GERMAN, GOOD], None),
    "another language": ([GERMAN], "other_language"),
    "nothing": ([Reply("")], "empty"),
    "slowly": ([SLOW], "no_answer"),
    "never": ([NEVER], "no_answer"),
    "well again": ([GOOD], None),
}


@pytest.fixture
def bench(open_bench: Callable[..., Bench]) -> Bench:
    """As many prompts as there are cases, each with references about dogs."""
    prompts = {f"{number:02}": "a dog runs" for number in range(len(CASES))}
    captions = ["a small dog plays happily", "a golden retriever runs fast"]
    return open_bench(prompts, {id_: [*captions, f"dog {id_}"] for id_ in prompts})


def case_of(request: dict[str, Any]) -> int:
    """Which case a request is about: its last example says so."""
    [number] = re.findall(r'dog (\d\d)",', request["messages"][-1]["content"])
    return int(number)


def test_every_prompt_has_a_rewrite_or_its_original_with_the_reason_counted(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    replies = [list(replies) for replies, _ in CASES.values()]
    endpoint.choose = lambda request: replies[case_of(request)]
    e = bench.experiment(k=3, timeout_seconds=SECONDS)
    outcome = rewrite_prompts(bench.workspace, e)
    asked = Counter(list(CASES)[case_of(request)] for request in endpoint.requests)
    for case in ("busy for ever", "failing for ever", "never"):
        assert asked[case] == 1 + TRANSPORT_RETRIES, case
    rewrites = list(rewrites_of(bench.workspace, e).values())
    found: dict[str, str | None] = {
        case: one.fallback_reason for case, one in zip(CASES, rewrites, strict=True)
    }
    assert found == {case: reason for case, (_, reason) in CASES.items()}
    for one in rewrites:
        assert one.text == ("a dog runs" if one.fallback_reason else GOOD.text)
    reasons = Counter(reason for reason in found.values() if reason)
    assert outcome.facts["fallback_reasons"] == reasons
    passing = reasons["no_answer"] + reasons["malformed"]
    assert (outcome.computed, len(outcome.failures)) == (len(CASES) - passing, passing)
    assert all(failure.passing for failure in outcome.failures)

    assert every_prompt_has_a_rewrite(bench.workspace, e).passed
    kept = few_originals_were_kept(bench.workspace, e)
    assert not kept.passed
    assert kept.facts["share"] == outcome.facts["fallback_share"] == reasons.total() / len(CASES)
    assert {row[0]: row[1] for row in kept.rows} == {reason: str(count) for reason, count in reasons.items()}

    endpoint.requests.clear()
    endpoint.choose = lambda _: [GOOD]
    again = rewrite_prompts(bench.workspace, e)
    assert (again.computed, again.failures, len(endpoint.requests)) == (passing, (), passing)
