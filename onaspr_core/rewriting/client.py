"""The language model, asked through the OpenAI API by the `openai` package's client.

`OPENAI_API_KEY` and `OPENAI_BASE_URL` come from the environment and the model's name from the settings, so
any compatible endpoint serves. Retries, backoff and `Retry-After` are the client's own. What is asked is
written in `template`; what an answer is worth is for `guard`.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
import openai

from onaspr_core.errors import UserError
from onaspr_core.rewriting.server import EMBEDDED_MODEL, Endpoint, embedded_server
from onaspr_core.rewriting.template import Message
from onaspr_core.settings import RewriterSettings

TRANSPORT_RETRIES = 3
"""How often the client asks again after a refused connection, a timeout, 408, 409, 429 or 5xx."""

LARGEST_ANSWER = 1 << 20
"""Bytes; a longer answer is given up."""

SHORTEST_SECRET = 8
"""Bytes; what is shorter stands in for a key, as "none" and "EMPTY" do, and may be a part of any answer."""

_OPTIONAL = ("max_tokens", "temperature", "seed", "stop")
"""Options that some models refuse; one that is refused is left out from then on."""


@dataclass(frozen=True)
class Answer:
    """What the model said; `complete` is False when it was stopped at its limit of tokens."""

    text: str
    complete: bool = True


class NoAnswerError(Exception):
    """The endpoint gave no usable answer to this request; others may fare better.

    `kind` is "no_answer" (busy, failing or silent after all retries), "malformed" (not the API's form) or
    "context_overflow" (the request is longer than the model can read).
    """

    def __init__(self, kind: Literal["no_answer", "malformed", "context_overflow"], detail: str) -> None:
        """Say what happened; `detail` never holds the key."""
        super().__init__(detail)
        self.kind = kind


class LanguageModel:
    """A chat model at an endpoint; open one with `open_language_model`."""

    def __init__(
        self,
        settings: RewriterSettings,
        endpoint: Endpoint,
        client: openai.AsyncOpenAI,
        runner: asyncio.Runner,
    ) -> None:
        """Take an open client and what runs it: an event loop can give up what it waits for at any moment."""
        self._settings = settings
        self._endpoint = endpoint
        self._client = client
        self._runner = runner
        self._refused: set[str] = set()

    def answer(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        seed: int,
        max_tokens: int,
        stop: Sequence[str] = (),
    ) -> Answer:
        """Ask once and return what the model said.

        Each try of a request takes at most `timeout_seconds` until its answer begins, and the answer as long
        again, however slowly either drips.

        Raises:
            NoAnswerError: when this request got no usable answer.
            UserError: when the endpoint cannot be reached or refuses the key, the model or the request.
        """
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        if stop:
            options["stop"] = list(stop)
        while True:
            wanted = {name: value for name, value in options.items() if name not in self._refused}
            try:
                return _read_answer(self._without_key(self._runner.run(self._ask(messages, wanted))))
            except openai.BadRequestError as problem:
                refused = _refused_option(problem, wanted)
                if refused is None:
                    raise self._fault(problem) from None
                self._refused.add(refused)
            except openai.APIError as problem:
                raise self._fault(problem) from None
            except httpx2.HTTPError as problem:
                raise NoAnswerError("malformed", f"the answer broke off: {type(problem).__name__}") from None

    async def _ask(self, messages: Sequence[Message], options: dict[str, Any]) -> bytes:
        body = b""
        create = self._client.chat.completions.with_streaming_response.create
        asked: Any = create(model=self._settings.model, messages=[dict(m) for m in messages], **options)  # type: ignore[misc]
        async with asked as response:
            try:
                async with asyncio.timeout(self._settings.timeout_seconds):
                    async for piece in response.iter_bytes():
                        body += piece
                        if len(body) > LARGEST_ANSWER:
                            raise NoAnswerError("malformed", f"an answer of more than {LARGEST_ANSWER} bytes")
            except TimeoutError:
                raise NoAnswerError("no_answer", "the answer took longer than timeout_seconds") from None
        return body

    def _without_key(self, body: bytes) -> bytes:
        """An answer as it may be kept: an endpoint that is being debugged may send back what it was sent."""
        key = self._endpoint.api_key.encode()
        return body if len(key) < SHORTEST_SECRET else body.replace(key, b"(key)")

    def _fault(self, problem: openai.APIError) -> Exception:
        if isinstance(problem, openai.APITimeoutError):
            return NoAnswerError("no_answer", f"no answer within {self._settings.timeout_seconds:g} s")
        if isinstance(problem, openai.APIStatusError) and (
            problem.status_code >= 500 or problem.status_code in (408, 409, 429)
        ):
            return NoAnswerError("no_answer", f"status {problem.status_code} after all retries")
        said = f"{problem.type} {problem.code} {problem.message}"
        if isinstance(problem, openai.BadRequestError) and "context" in said:
            return NoAnswerError("context_overflow", "the request is longer than the model can read")
        if isinstance(problem, openai.APIConnectionError | openai.APIStatusError):
            return self._misconfigured(problem)
        return NoAnswerError("malformed", type(problem).__name__)

    def _misconfigured(self, problem: openai.APIError) -> UserError:
        where = f"{self._settings.model} at {_shown(self._endpoint.base_url)}"
        if isinstance(problem, openai.AuthenticationError | openai.PermissionDeniedError):
            return UserError(f"{where} refuses the key; check OPENAI_API_KEY and that it may use this model")
        if isinstance(problem, openai.NotFoundError):
            return UserError(
                f"{where} is not found; check OPENAI_BASE_URL (it usually ends in /v1) and rewriter.model"
            )
        if isinstance(problem, openai.APIStatusError):
            status = problem.status_code
            return UserError(f"{where} refuses the request with status {status}; check rewriter.model")
        why = problem.__cause__ or "connection error"
        return UserError(
            f"{where} cannot be reached ({why}); check OPENAI_BASE_URL and that the server runs. "
            "What has been rewritten is kept"
        )


def _refused_option(problem: openai.BadRequestError, options: dict[str, Any]) -> str | None:
    said = f"{problem.param} {problem.message}"
    return next((name for name in _OPTIONAL if name in options and name in said), None)


def _shown(url: str) -> str:
    """The address without any user name, password or query that stands in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "OPENAI_BASE_URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_answer(body: bytes) -> Answer:
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        complete = choice.get("finish_reason") != "length"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise NoAnswerError("malformed", f"not a chat completion: {body[:60]!r}") from None
    if not isinstance(text, str):
        raise NoAnswerError("malformed", "the message's content is not text")
    return Answer(text, complete)


def is_embedded(settings: RewriterSettings) -> bool:
    """Say whether the settings name the embedded model and no other endpoint is set in the environment."""
    return settings.model == EMBEDDED_MODEL and not os.environ.get("OPENAI_BASE_URL")


@contextmanager
def open_language_model(
    settings: RewriterSettings, transport_retries: int = TRANSPORT_RETRIES
) -> Iterator[LanguageModel]:
    """Open the model that the settings name; the embedded one is served as long as the block lasts.

    Raises:
        UserError: when there is neither a key nor an address for the model, or the embedded one cannot start.
    """
    if is_embedded(settings):
        with embedded_server() as endpoint, _opened(settings, endpoint, transport_retries, False) as model:
            yield model
        return
    url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
    if not url and not key:
        raise UserError(
            f"rewriter.model is {settings.model!r}: set OPENAI_API_KEY, and OPENAI_BASE_URL for an endpoint "
            f"other than OpenAI's, or use the embedded model {EMBEDDED_MODEL!r}"
        )
    endpoint = Endpoint(url or "https://api.openai.com/v1", key or "none")
    with _opened(settings, endpoint, transport_retries, True) as model:
        yield model


class _PatientClient(openai.DefaultAsyncHttpxClient):
    """Gives up a try whose answer has not begun, or whose error has not ended, in so many seconds.

    httpx counts them anew for each byte that comes: headers that drip would never come to an end.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, **options)
                if response.is_error:
                    await response.aread()
                return response
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no answer in {self._seconds:g} s", request=request) from None


@contextmanager
def _opened(
    settings: RewriterSettings, endpoint: Endpoint, retries: int, proxies: bool
) -> Iterator[LanguageModel]:
    client = _client(settings, endpoint, retries, proxies)
    with asyncio.Runner() as runner:
        try:
            yield LanguageModel(settings, endpoint, client, runner)
        finally:
            runner.run(client.close())


def _client(
    settings: RewriterSettings, endpoint: Endpoint, retries: int, proxies: bool
) -> openai.AsyncOpenAI:
    try:
        return openai.AsyncOpenAI(
            api_key=endpoint.api_key,
            base_url=endpoint.base_url,
            timeout=settings.timeout_seconds,
            max_retries=retries,
            http_client=_PatientClient(settings.timeout_seconds, trust_env=proxies),
        )
    except (ValueError, httpx2.InvalidURL, openai.OpenAIError):
        raise UserError("OPENAI_BASE_URL is not a usable address; it looks like https://host/v1") from None
