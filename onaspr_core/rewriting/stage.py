"""The stage `rewritten_prompts`: one stored rewrite for every prompt of an experiment.

Asks the language model (`client`), judges its answers (`guard`), asks again where none passes, once by
default, and falls back to the original prompt, with every answer and reason on record. Which words are asked,
and how many answers are drawn each time, is `template`'s. The embedded model is served while this stage makes
rewrites, and no longer.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, Preview, run_items
from onaspr_core.errors import UserError
from onaspr_core.markdown import table
from onaspr_core.prompts import load_prompts
from onaspr_core.rewriting import guard, template
from onaspr_core.rewriting.server import EMBEDDED_MODEL, model_fingerprint
from onaspr_core.rewriting.stored import Attempt, Rewrite, store_rewrite, stored_rewrites
from onaspr_core.settings import Experiment, RewriterSettings
from onaspr_core.stored_kinds import REWRITE, UNANSWERED_REWRITE
from onaspr_core.workspace import Workspace

if TYPE_CHECKING:
    from onaspr_core.rewriting.client import LanguageModel

LONGEST_RECORDED_ANSWER = 2000
UNANSWERED_IN_A_ROW = 3
"""After so many prompts in a row without an answer the endpoint counts as down."""

PROMPTS_SHOWN = 50


@dataclass(frozen=True)
class _Item:
    prompt_id: str
    text: str
    references: tuple[str, ...]
    key: str


def rewriter_fingerprint(settings: RewriterSettings, embedder_fingerprint: str) -> str:
    """Return the hash of everything but prompt and references that determines a rewrite; loads nothing.

    The endpoint's address and the time limit are not in it: a model is known by its name, the embedded one
    also by the SHA-256 of its file.
    """
    return content_key("rewriter", **_asked_with(settings, embedder_fingerprint))


def _asked_with(settings: RewriterSettings, embedder_fingerprint: str) -> dict[str, Any]:
    one_shot = template.wants_example(settings)
    return {
        **settings.model_dump(exclude={"timeout_seconds", "one_shot"}),
        "one_shot": one_shot,
        "file": model_fingerprint() if settings.model == EMBEDDED_MODEL else "",
        "template": template.fingerprint(one_shot),
        "guard": code_versions.REWRITE,
        "embedder": embedder_fingerprint,
    }


def rewrite_prompts(workspace: Workspace, experiment: Experiment) -> Outcome:
    """Rewrite the prompts that have no stored rewrite for their references and these settings.

    Items are prompts. A prompt that the endpoint does not answer is a failure that keeps the original for
    now and is asked for again by the next run; one whose answers fail the guard keeps the original for good.

    Raises:
        UserError: when prompts or neighbours have not been materialized, or the endpoint is misconfigured or
            down; rewrites made until then are kept.
    """
    loaded = len(workspace.models.loaded)
    items = _items(workspace, experiment)
    opened: list[str] = []
    outcome = run_items(
        "rewritten prompts",
        items,
        key=lambda item: item.key,
        name=lambda item: item.prompt_id,
        exists=lambda keys: workspace.store.existing(REWRITE, list(keys)),
        open_maker=lambda: _open_maker(workspace, experiment.rewriter, opened),
    )
    rewrites = list(workspace.store.map(partial(_stored, workspace), items))
    return replace(
        outcome,
        models=(*workspace.models.loaded[loaded:], *opened),
        facts=_facts(experiment, rewrites),
        preview=Preview(markdown=_table(rewrites)),
    )


def rewrites_of(
    workspace: Workspace, experiment: Experiment, prompt_ids: Collection[str] | None = None
) -> dict[str, Rewrite]:
    """Return the rewrite of each prompt, or of these alone, by prompt id in the order of the prompts.

    Raises:
        UserError: when a prompt has none for its present references and settings.
    """
    items = _items(workspace, experiment)
    asked = [item for item in items if prompt_ids is None or item.prompt_id in prompt_ids]
    read = workspace.store.map(partial(_stored, workspace), asked)
    return {item.prompt_id: rewrite for item, rewrite in zip(asked, read, strict=True)}


def prompts_without_rewrite(workspace: Workspace, experiment: Experiment) -> list[str]:
    """Return the ids of prompts that have no stored rewrite for their present references and settings.

    Raises:
        UserError: when prompts or neighbours have not been materialized.
    """
    items = _items(workspace, experiment)
    keys = [item.key for item in items]
    stored = workspace.store.existing(REWRITE, keys) | workspace.store.existing(UNANSWERED_REWRITE, keys)
    return [item.prompt_id for item in items if item.key not in stored]


def _items(workspace: Workspace, experiment: Experiment) -> list[_Item]:
    from onaspr_core.retrieval.embedder import embedder
    from onaspr_core.retrieval.neighbours import neighbours_of

    prompts = load_prompts(workspace, experiment)
    k = experiment.references.k
    neighbours = neighbours_of(workspace, experiment) if k else {}
    fingerprint = rewriter_fingerprint(experiment.rewriter, embedder(workspace).fingerprint)
    items = []
    for prompt in prompts:
        captions = tuple(" ".join(one.caption.split()) for one in neighbours.get(prompt.id, ())[:k])
        key = content_key(REWRITE, prompt=prompt.text, references=captions, rewriter=fingerprint)
        items.append(_Item(prompt.id, prompt.text, captions, key))
    return items


def _stored(workspace: Workspace, item: _Item) -> Rewrite:
    for _, rewrite in stored_rewrites(workspace, item.key):
        return rewrite
    raise UserError(
        f"prompt {item.prompt_id} has no rewrite for its references and settings; "
        "materialize the asset `rewritten_prompts`"
    )


@contextmanager
def _open_maker(
    workspace: Workspace, settings: RewriterSettings, opened: list[str]
) -> Iterator[Callable[[Sequence[_Item]], Iterable[Failure]]]:
    from onaspr_core.retrieval.embedder import embedder
    from onaspr_core.rewriting.client import open_language_model

    encoder = embedder(workspace)
    asked_with = _asked_with(settings, encoder.fingerprint)
    unanswered_in_a_row = 0

    with open_language_model(settings) as model:
        opened.append(settings.model)

        def make(batch: Sequence[_Item]) -> Iterator[Failure]:
            nonlocal unanswered_in_a_row
            for item in batch:
                rewrite, trouble = rewrite_one(model, settings, encoder.encode, item.text, item.references)
                if trouble is None:
                    unanswered_in_a_row = 0
                    store_rewrite(workspace, REWRITE, item.key, rewrite, asked_with)
                    continue
                unanswered_in_a_row += 1
                if unanswered_in_a_row == UNANSWERED_IN_A_ROW:
                    raise UserError(
                        f"{settings.model} gave no usable answer to {UNANSWERED_IN_A_ROW} prompts in a row "
                        f"({trouble}); check the endpoint and run again. What has been rewritten is kept"
                    )
                store_rewrite(workspace, UNANSWERED_REWRITE, item.key, rewrite, asked_with)
                yield Failure(item.prompt_id, f"{trouble}; the original prompt is used", passing=True)

        yield make


def rewrite_one(
    model: "LanguageModel",
    settings: RewriterSettings,
    embed: guard.Embed,
    prompt: str,
    references: Sequence[str],
) -> tuple[Rewrite, str | None]:
    """Rewrite one prompt, and say what was wrong with the endpoint if it gave no answer.

    The model is asked once and, when nothing it says passes the guard, again `settings.retries` times, a
    small one in other words. Each time it answers up to `template.Style.draws` times, until an answer passes:
    most models once, the embedded one six times. So by default a prompt takes at most 2 requests, or 12 of
    the embedded model. The first answer is drawn at the settings' temperature, each later one with a seed of
    its own and at least `template.WARMTH`.
    """
    from onaspr_core.rewriting.client import NoAnswerError

    attempts: list[Attempt] = []
    one_shot = template.wants_example(settings)
    style = template.style(one_shot)
    for number in range((1 + settings.retries) * style.draws):
        again = number >= style.draws
        messages = template.messages(references, prompt, settings.max_words, one_shot, again)
        try:
            answer = model.answer(
                messages,
                temperature=max(settings.temperature, template.WARMTH) if number else settings.temperature,
                seed=settings.seed + number,
                max_tokens=style.tokens_per_word * settings.max_words,
                stop=style.stop,
            )
        except NoAnswerError as problem:
            attempts.append(Attempt("", problem.kind))
            trouble = None if problem.kind == "context_overflow" else str(problem)
            return _rewrite(settings, prompt, references, None, attempts), trouble
        text = guard.clean(answer.text)
        reason = guard.judge(
            text,
            prompt,
            max_words=settings.max_words,
            minimum_similarity=settings.minimum_similarity,
            embed=embed,
            complete=answer.complete,
        )
        attempts.append(Attempt(answer.text[:LONGEST_RECORDED_ANSWER], reason))
        if reason is None:
            return _rewrite(settings, prompt, references, text, attempts), None
    return _rewrite(settings, prompt, references, None, attempts), None


def _rewrite(
    settings: RewriterSettings,
    prompt: str,
    references: Sequence[str],
    text: str | None,
    attempts: Sequence[Attempt],
) -> Rewrite:
    return Rewrite(
        text=prompt if text is None else text,
        original=prompt,
        references=tuple(references),
        fallback_reason=attempts[-1].reason if text is None else None,
        attempts=tuple(attempts),
        model=settings.model,
    )


def _facts(experiment: Experiment, rewrites: Sequence[Rewrite]) -> dict[str, Any]:
    reasons = Counter(rewrite.fallback_reason for rewrite in rewrites if rewrite.fallback_reason)
    return {
        "rewriter_model": experiment.rewriter.model,
        "references": experiment.references.k,
        "prompts_rewritten": len(rewrites) - reasons.total(),
        "fallbacks": reasons.total(),
        "fallback_share": reasons.total() / max(len(rewrites), 1),
        "fallback_reasons": dict(sorted(reasons.items())),
        "answers_drawn": sum(len(rewrite.attempts) for rewrite in rewrites),
    }


def _table(rewrites: Sequence[Rewrite]) -> str:
    rows = []
    for rewrite in rewrites[:PROMPTS_SHOWN]:
        why = rewrite.fallback_reason
        shown = f"(original kept: {why})" if why else rewrite.text
        rows.append((rewrite.original, shown, str(len(rewrite.attempts))))
    return table(("prompt", "rewrite", "answers"), rows)
