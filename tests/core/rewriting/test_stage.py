import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onaspr_core import code_versions
from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.rewriting import server, stage, template
from onaspr_core.rewriting.stage import rewrite_prompts, rewrites_of
from onaspr_core.settings import RewriterSettings
from onaspr_core.stored_kinds import REWRITE, UNANSWERED_REWRITE
from onaspr_core.workspace import Workspace
from tests.core.rewriting.bench import Bench
from tests.core.rewriting.endpoint import KEY, FakeEndpoint, Reply

Open = Callable[..., Bench]
PROMPTS = {"p1": "a panda is driving a car", "p2": "a dog runs", "p3": "a cat sits"}
SURFERS = ["a surfer rides a big wave", "surfers at sunset", "a young surfer on the sandy beach"]
DOGS = ["a small dog plays happily", "a golden retriever runs fast", "two dogs in the snow"]
CATS = ["a lazy cat sits quietly", "a kitten sleeps", "a fat cat eats"]
CAPTIONS = {"p1": SURFERS, "p2": DOGS, "p3": CATS}
GOOD = [Reply("A happy panda is driving a car."), Reply("A small dog runs fast."), Reply("A lazy cat sits.")]
FACTS = ("prompts_rewritten", "fallbacks", "fallback_reasons")


@pytest.fixture
def bench(open_bench: Open) -> Bench:
    return open_bench(PROMPTS, CAPTIONS)


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.total, outcome.computed, outcome.reused, len(outcome.failures)


def texts(bench: Bench, **options: Any) -> list[str]:
    return [rewrite.text for rewrite in rewrites_of(bench.workspace, bench.experiment(**options)).values()]


def test_every_prompt_gets_a_stored_rewrite_with_all_that_it_was_made_from(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    endpoint.replies = list(GOOD)
    outcome = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(outcome) == (3, 3, 0, 0)
    assert [outcome.facts[name] for name in FACTS] == [3, 0, {}]
    assert outcome.facts["rewriter_model"] == "some-model"
    rewrite = rewrites_of(bench.workspace, bench.experiment())["p1"]
    assert rewrite.text == "A happy panda is driving a car."
    assert rewrite.original == PROMPTS["p1"]
    assert rewrite.references == tuple(SURFERS[:2])
    assert rewrite.fallback_reason is None
    assert [(one.answer, one.reason) for one in rewrite.attempts] == [(rewrite.text, None)]
    said = endpoint.requests[0]["messages"][-1]["content"]
    assert said == template.messages(SURFERS[:2], PROMPTS["p1"], 20, one_shot=False)[-1]["content"]


def test_the_record_tells_how_the_model_was_asked_and_a_rewrite_knows_its_key(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    endpoint.replies = list(GOOD)
    e = bench.experiment(max_words=12, timeout_seconds=9.0)
    rewrite_prompts(bench.workspace, e)
    rewrites = rewrites_of(bench.workspace, e)
    assert rewrites_of(bench.workspace, e, {"p2"}) == {"p2": rewrites["p2"]}
    record = bench.workspace.store.record(REWRITE, rewrites["p2"].key)
    asked = record["asked_with"]
    assert record["prompt"] == PROMPTS["p2"] and "timeout_seconds" not in asked
    assert (asked["max_words"], asked["embedder"], asked["one_shot"]) == (12, "bag", False)
    assert asked["guard"] == code_versions.REWRITE and asked["template"] == template.fingerprint(False)


def test_what_fails_the_guard_is_asked_for_once_more(bench: Bench, endpoint: FakeEndpoint) -> None:
    surfer = Reply("A surfer rides a big blue wave.")
    endpoint.replies = [surfer, *GOOD]
    outcome = rewrite_prompts(bench.workspace, bench.experiment())
    assert outcome.facts["fallbacks"] == 0
    attempts = rewrites_of(bench.workspace, bench.experiment())["p1"].attempts
    assert [attempt.reason for attempt in attempts] == ["lost_content", None]
    first, second = endpoint.requests[:2]
    assert second["seed"] != first["seed"]
    assert second["temperature"] > first["temperature"] == 0.0
    assert second["messages"] == first["messages"]


def test_another_model_at_another_address_gets_the_papers_instruction_word_for_word(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    endpoint.replies = [Reply("")]
    rewrite_prompts(bench.workspace, bench.experiment(model="x"))
    said = (
        'Let me give you 2 examples: "a surfer rides a big wave", "surfers at sunset", rewrite the sentence '
        '"a panda is driving a car" without changing the meaning of the original sentence to a maximum of 20 '
        "words, imitating/combining the adjectives, adverbs or sentence patterns from the 2 examples above"
        f"{template.DATA}"
    )
    assert [request["messages"] for request in endpoint.requests[:2]] == [
        [{"role": "user", "content": said}]
    ] * 2
    assert len(endpoint.requests) == 2 * len(PROMPTS)
    assert not any("stop" in request for request in endpoint.requests)
    assert {request["model"] for request in endpoint.requests} == {"x"}


def test_by_default_a_prompt_takes_at_most_twice_six_answers_all_on_record(
    open_bench: Open, endpoint: FakeEndpoint
) -> None:
    bench = open_bench({"p1": PROMPTS["p1"]}, CAPTIONS)
    default: dict[str, Any] = {"model": RewriterSettings().model}
    endpoint.replies = [Reply(f"surfer {number}") for number in range(13)]
    outcome = rewrite_prompts(bench.workspace, bench.experiment(**default))
    assert len(endpoint.requests) == outcome.facts["answers_drawn"] == 12
    rewrite = rewrites_of(bench.workspace, bench.experiment(**default))["p1"]
    assert [one.answer for one in rewrite.attempts] == [f"surfer {number}" for number in range(12)]
    assert {one.reason for one in rewrite.attempts} == {rewrite.fallback_reason} == {"lost_content"}
    said = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert len(set(said[:6])) == len(set(said[6:])) == 1
    assert said[0] != said[6]
    assert len({request["seed"] for request in endpoint.requests}) == 12


def test_by_default_the_first_answer_that_passes_is_the_last_request(
    open_bench: Open, endpoint: FakeEndpoint
) -> None:
    bench = open_bench({"p1": PROMPTS["p1"]}, CAPTIONS)
    endpoint.replies = [Reply("a surfer"), GOOD[0]]
    outcome = rewrite_prompts(bench.workspace, bench.experiment(model=RewriterSettings().model))
    assert len(endpoint.requests) == outcome.facts["answers_drawn"] == 2
    assert outcome.facts["fallbacks"] == 0


def test_what_fails_twice_keeps_the_original_with_its_reason_on_record_and_counted(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    surfer = Reply("A surfer rides a big blue wave.")
    essay = Reply("A dog runs " + "and runs " * 2000)
    endpoint.replies = [surfer, surfer, essay, Reply(""), GOOD[2]]
    outcome = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(outcome) == (3, 3, 0, 0)
    assert [outcome.facts[name] for name in FACTS] == [1, 2, {"empty": 1, "lost_content": 1}]
    assert outcome.facts["fallback_share"] == pytest.approx(2 / 3)
    rewrites = rewrites_of(bench.workspace, bench.experiment())
    assert rewrites["p1"].text == PROMPTS["p1"]
    assert rewrites["p1"].fallback_reason == "lost_content"
    assert [one.reason for one in rewrites["p2"].attempts] == ["too_long", "empty"]
    assert len(rewrites["p2"].attempts[0].answer) == 2000
    assert outcome.preview is not None
    assert "original kept: lost\\_content" in outcome.preview.markdown


def test_more_retries_are_a_setting(bench: Bench, endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply("")]
    rewrite_prompts(bench.workspace, bench.experiment(retries=3))
    assert len(endpoint.requests) == 4 * len(PROMPTS)


def test_a_second_run_asks_nothing_and_loads_nothing(
    bench: Bench, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.replies = list(GOOD)
    first = rewrite_prompts(bench.workspace, bench.experiment())
    asked = len(endpoint.requests)
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    again = Workspace(bench.workspace.settings)
    second = rewrite_prompts(again, bench.experiment())
    assert counts(second) == (3, 0, 3, 0)
    assert second.version == first.version
    assert (second.models, again.models.loaded) == ((), ())
    assert second.facts == first.facts
    assert len(endpoint.requests) == asked


def test_the_time_limit_and_equal_settings_change_nothing(bench: Bench, endpoint: FakeEndpoint) -> None:
    endpoint.replies = list(GOOD)
    rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(rewrite_prompts(bench.workspace, bench.experiment(timeout_seconds=9.0))) == (3, 0, 3, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"}, {"temperature": 0.3}, {"seed": 1}, {"max_words": 15}, {"one_shot": True},
        {"minimum_similarity": 0.1}, {"retries": 0},
    ],
)  # fmt: skip
def test_every_setting_that_a_rewrite_depends_on_moves_its_key(change: dict[str, Any], bench: Bench) -> None:
    before, after = bench.experiment().rewriter, bench.experiment(**change).rewriter
    assert stage.rewriter_fingerprint(before, "e") != stage.rewriter_fingerprint(after, "e")


def test_what_one_shot_means_where_it_is_left_out_is_what_the_key_holds(bench: Bench) -> None:
    def key(**rewriter: Any) -> str:
        return stage.rewriter_fingerprint(bench.experiment(**rewriter).rewriter, "e")

    assert key(model="x") == key(model="x", one_shot=False)
    embedded = server.EMBEDDED_MODEL
    assert key(model=embedded) == key(model=embedded, one_shot=True) != key(model=embedded, one_shot=False)


def test_the_guards_rules_the_template_and_the_embedder_move_the_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = bench.experiment().rewriter
    before = stage.rewriter_fingerprint(settings, "e")
    assert stage.rewriter_fingerprint(settings, "f") != before
    monkeypatch.setattr(template, "instruction", lambda *_: "another")
    moved = stage.rewriter_fingerprint(settings, "e")
    monkeypatch.setattr(code_versions, "REWRITE", 99)
    assert len({before, moved, stage.rewriter_fingerprint(settings, "e")}) == 3


def test_the_embedded_model_is_known_by_its_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = bench.experiment(model=server.EMBEDDED_MODEL).rewriter
    before = stage.rewriter_fingerprint(settings, "e")
    monkeypatch.setattr(stage, "model_fingerprint", lambda: "another file")
    assert stage.rewriter_fingerprint(settings, "e") != before


def test_a_change_of_k_rewrites_only_prompts_whose_references_change(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    bench.captions["p3"] = CATS[:2]
    endpoint.replies = list(GOOD)
    rewrite_prompts(bench.workspace, bench.experiment(k=2))
    endpoint.replies = list(GOOD)
    assert counts(rewrite_prompts(bench.workspace, bench.experiment(k=3))) == (3, 2, 1, 0)
    assert counts(rewrite_prompts(bench.workspace, bench.experiment(k=2))) == (3, 0, 3, 0)


def test_without_references_the_examples_are_left_out(bench: Bench, endpoint: FakeEndpoint) -> None:
    endpoint.replies = list(GOOD)
    rewrite_prompts(bench.workspace, bench.experiment(k=0))
    assert (
        endpoint.requests[0]["messages"][-1]["content"]
        == (template.messages([], PROMPTS["p1"], 20, one_shot=False)[0]["content"])
    )


def test_one_changed_caption_rewrites_one_prompt(bench: Bench, endpoint: FakeEndpoint) -> None:
    endpoint.replies = list(GOOD)
    first = rewrite_prompts(bench.workspace, bench.experiment())
    bench.captions["p2"] = ["a big dog", *DOGS]
    endpoint.replies = [Reply("A big dog runs.")]
    second = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(second) == (3, 1, 2, 0)
    assert second.version != first.version


def test_an_unanswered_prompt_is_a_failure_that_keeps_the_original_until_the_next_run(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    html = Reply(body=b"<html>gateway</html>", headers={"Content-Type": "text/html"})
    endpoint.replies = [GOOD[0], html, GOOD[2]]
    first = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(first) == (3, 2, 0, 1)
    assert first.failures[0].item == "p2"
    assert first.facts["fallback_reasons"] == {"malformed": 1}
    assert texts(bench) == ["A happy panda is driving a car.", PROMPTS["p2"], "A lazy cat sits."]
    endpoint.replies = [GOOD[1]]
    second = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(second) == (3, 1, 2, 0)
    assert second.version != first.version
    assert texts(bench)[1] == "A small dog runs fast."


def test_an_endpoint_that_answers_nothing_to_prompt_after_prompt_stops_the_run_and_keeps_what_is_made(
    bench: Bench, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "UNANSWERED_IN_A_ROW", 2)
    endpoint.replies = [GOOD[0], Reply(status=503)]
    with pytest.raises(UserError, match="2 prompts in a row"):
        rewrite_prompts(bench.workspace, bench.experiment())
    endpoint.replies = GOOD[1:]
    assert counts(rewrite_prompts(bench.workspace, bench.experiment())) == (3, 2, 1, 0)


def test_a_refused_key_stops_the_run_with_what_to_check(bench: Bench, endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply(status=401, body=b'{"error": {"message": "no"}}')]
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        rewrite_prompts(bench.workspace, bench.experiment())
    assert len(endpoint.requests) == 1


def test_a_prompt_too_long_for_the_model_keeps_the_original_for_good(
    bench: Bench, endpoint: FakeEndpoint
) -> None:
    overflow = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    endpoint.replies = [Reply(status=400, body=json.dumps(overflow).encode()), *GOOD[1:]]
    outcome = rewrite_prompts(bench.workspace, bench.experiment())
    assert counts(outcome) == (3, 3, 0, 0)
    assert outcome.facts["fallback_reasons"] == {"context_overflow": 1}


def test_a_rewrite_that_was_never_made_is_asked_for_by_name_of_its_asset(bench: Bench) -> None:
    with pytest.raises(UserError, match="materialize the asset `rewritten_prompts`"):
        rewrites_of(bench.workspace, bench.experiment())


def test_the_key_is_stored_nowhere(bench: Bench, endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.replies = [GOOD[0], Reply(body=b"<html>"), GOOD[2]]
    outcome = rewrite_prompts(bench.workspace, bench.experiment())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(UNANSWERED_REWRITE in str(path) for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in repr(outcome)


def test_captions_and_prompts_are_only_text_in_the_preview(open_bench: Open, endpoint: FakeEndpoint) -> None:
    bad = "a dog | <script>x</script> ![](http://example.org)"
    bench = open_bench({"p": bad}, {"p": DOGS})
    endpoint.replies = [Reply("")]
    preview = rewrite_prompts(bench.workspace, bench.experiment()).preview
    assert preview is not None
    row = preview.markdown.splitlines()[2]
    assert "<script>" not in row
    assert "![" not in row
    assert row.replace("\\|", "").count("|") == 4


def test_the_embedded_model_rewrites_from_end_to_end_and_is_not_started_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    embedded: dict[str, Any] = {"model": server.EMBEDDED_MODEL, "timeout_seconds": 120.0}
    first = rewrite_prompts(bench.workspace, bench.experiment(**embedded))
    assert counts(first) == (3, 3, 0, 0)
    assert first.models == (server.EMBEDDED_MODEL,)
    for rewrite in rewrites_of(bench.workspace, bench.experiment(**embedded)).values():
        assert len(rewrite.text.split()) <= 20
        assert (rewrite.text == rewrite.original) == (rewrite.fallback_reason is not None)
        assert "surf" not in rewrite.text
    monkeypatch.setattr("subprocess.Popen", None)
    second = rewrite_prompts(bench.workspace, bench.experiment(**embedded))
    assert counts(second) == (3, 0, 3, 0)
    assert second.version == first.version
