import json
import logging
import time
from typing import Any

import pytest

from onaspr_core.errors import UserError
from onaspr_core.rewriting.client import (
    LARGEST_ANSWER,
    TRANSPORT_RETRIES,
    Answer,
    NoAnswerError,
    is_embedded,
    open_language_model,
)
from onaspr_core.settings import RewriterSettings
from tests.core.rewriting.endpoint import KEY, FakeEndpoint, Reply

HELLO: Any = [{"role": "user", "content": "hello"}]


def ask(model: str = "some-model", timeout_seconds: float = 5.0) -> Answer:
    settings = RewriterSettings(model=model, timeout_seconds=timeout_seconds)
    with open_language_model(settings) as language_model:
        return language_model.answer(HELLO, temperature=0.5, seed=7, max_tokens=40, stop=(".",))


def refused(status: int, **error: str | None) -> Reply:
    return Reply(status=status, body=json.dumps({"error": error}).encode())


def test_the_environment_names_the_endpoint_and_the_settings_the_model(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply("A dog runs.")]
    assert ask("gpt-of-my-own") == Answer("A dog runs.")
    assert endpoint.requests == [
        {
            "model": "gpt-of-my-own",
            "messages": HELLO,
            "temperature": 0.5,
            "seed": 7,
            "max_tokens": 40,
            "stop": ["."],
        }
    ]
    assert endpoint.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_or_failing_endpoint_is_asked_again(endpoint: FakeEndpoint, status: int) -> None:
    endpoint.replies = [Reply(status=status, headers={"Retry-After": "0.01"}), Reply("A dog runs.")]
    assert ask() == Answer("A dog runs.")
    assert len(endpoint.requests) == 2


def test_retry_after_is_waited_for(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply(status=429, headers={"Retry-After": "1"}), Reply("A dog runs.")]
    started = time.monotonic()
    ask()
    assert time.monotonic() - started >= 1.0


def test_an_endpoint_that_fails_for_ever_is_given_up_after_all_retries(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply(status=500)]
    with pytest.raises(NoAnswerError, match="status 500") as caught:
        ask()
    assert caught.value.kind == "no_answer"
    assert len(endpoint.requests) == 1 + TRANSPORT_RETRIES


@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            body=b"<html><body>Welcome to the airport</body></html>", headers={"Content-Type": "text/html"}
        ),
        Reply(body=b""),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": 7}}]}'),
        Reply(body=b'{"choices": [{"message": {"con', declared_length=500),
        Reply(body=b"[" * 100_000),
        Reply(body=b" " * (LARGEST_ANSWER + 1)),
    ],
    ids=["html", "nothing", "no choices", "a number", "half an answer", "depth", "size"],
)
def test_what_is_no_chat_completion_is_told_as_malformed(endpoint: FakeEndpoint, reply: Reply) -> None:
    endpoint.replies = [reply]
    with pytest.raises(NoAnswerError) as caught:
        ask()
    assert caught.value.kind == "malformed"


def test_an_answer_that_drips_is_given_up_at_the_time_limit(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply("A dog runs.", seconds_between_bytes=0.05)]
    with pytest.raises(NoAnswerError, match="timeout_seconds") as caught:
        ask(timeout_seconds=0.3)
    assert caught.value.kind == "no_answer"


def test_an_error_that_drips_is_given_up_at_the_time_limit(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply(status=400, body=b"no " * 1000, seconds_between_bytes=0.05)]
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s"):
        ask(timeout_seconds=0.3)
    assert time.monotonic() - started < 60


def test_headers_that_drip_for_ever_are_given_up_after_all_retries(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply(endless_headers=True)]
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"within 0\.2 s") as caught:
        ask(timeout_seconds=0.2)
    assert caught.value.kind == "no_answer"
    assert len(endpoint.requests) == 1 + TRANSPORT_RETRIES
    assert time.monotonic() - started < 8, "the headers went on for ten seconds a try"


def test_silence_is_given_up_at_the_time_limit(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply("A dog runs.", seconds_before=1.0)]
    with pytest.raises(NoAnswerError, match=r"within 0\.1 s") as caught:
        ask(timeout_seconds=0.1)
    assert caught.value.kind == "no_answer"


def test_empty_refused_and_cut_off_answers_are_answers(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [Reply("", finish="length")]
    assert ask() == Answer("", complete=False)
    endpoint.replies = [Reply(body=b'{"choices": [{"message": {"content": null, "refusal": "No."}}]}')]
    assert ask() == Answer("No.")


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "OPENAI_BASE_URL"), (422, "rewriter.model")],
)
def test_a_misconfigured_endpoint_is_an_error_that_says_what_to_check(
    endpoint: FakeEndpoint, status: int, advice: str
) -> None:
    endpoint.replies = [refused(status, message=f"wrong key {KEY}")]
    with pytest.raises(UserError, match=advice) as caught:
        ask()
    assert KEY not in str(caught.value)
    assert len(endpoint.requests) == 1


def test_nobody_listening_is_an_error_that_says_what_to_check(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = endpoint.url.replace("http://", "http://user:secret@")
    endpoint.close()
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match=r"cannot be reached.*OPENAI_BASE_URL") as caught:
        ask()
    assert "secret" not in str(caught.value)


def test_an_option_that_a_model_refuses_is_left_out_from_then_on(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [
        refused(400, message="Unsupported parameter: 'max_tokens'", param="max_tokens"),
        refused(400, message="'temperature' does not support 0.5 with this model", param="temperature"),
        Reply("A dog runs."),
    ]
    with open_language_model(RewriterSettings(model="some-model")) as model:
        for _ in range(2):
            assert model.answer(HELLO, temperature=0.5, seed=7, max_tokens=40).text == "A dog runs."
    assert [sorted(set(sent) & {"max_tokens", "temperature", "seed"}) for sent in endpoint.requests] == [
        ["max_tokens", "seed", "temperature"],
        ["seed", "temperature"],
        ["seed"],
        ["seed"],
    ]


def test_a_request_that_is_too_long_concerns_its_prompt_alone(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [refused(400, message="too many tokens", code="context_length_exceeded")]
    with pytest.raises(NoAnswerError) as caught:
        ask()
    assert caught.value.kind == "context_overflow"


def test_any_other_bad_request_is_an_error(endpoint: FakeEndpoint) -> None:
    endpoint.replies = [refused(400, message="no such model")]
    with pytest.raises(UserError, match="status 400"):
        ask()


def test_the_key_is_in_no_log_line(endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.replies = [Reply(status=500), Reply("A dog runs.")]
    ask()
    assert caplog.records
    assert KEY not in caplog.text


def test_a_model_needs_a_key_or_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="set OPENAI_API_KEY"):
        ask("gpt-4o-mini")


def test_an_address_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://[bad")
    with pytest.raises(UserError, match="OPENAI_BASE_URL"):
        ask()


def test_the_embedded_model_is_meant_by_its_name_unless_an_endpoint_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert is_embedded(RewriterSettings())
    assert not is_embedded(RewriterSettings(model="gpt-4o-mini"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert not is_embedded(RewriterSettings())


def test_a_key_that_comes_back_is_not_kept_and_a_stand_in_for_one_spoils_no_answer(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.replies = [Reply(f"A fox with {KEY}.")]
    assert ask() == Answer("A fox with (key).")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert ask() == Answer(f"A fox with {KEY}.")
