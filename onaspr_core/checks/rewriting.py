"""Checks of rewritten prompts: that there is one for each prompt, and how many are only the original."""

from collections import Counter

from onaspr_core.checks.finding import Finding, every, percent
from onaspr_core.errors import UserError
from onaspr_core.prompts import load_prompts
from onaspr_core.rewriting.stage import prompts_without_rewrite, rewrites_of
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


def every_prompt_has_a_rewrite(workspace: Workspace, e: Experiment) -> Finding:
    """Look for each prompt's stored rewrite under its present references and settings, and read it.

    Raises:
        UserError: when prompts or neighbours have not been materialized.
    """
    problems = [(id_, "no rewrite") for id_ in prompts_without_rewrite(workspace, e)]
    if not problems:
        try:
            rewrites_of(workspace, e)
        except UserError as problem:
            problems = [("one that cannot be read", str(problem))]
    total = len(load_prompts(workspace, e))
    return every("prompts have a rewrite", total, problems, "materialize rewritten_prompts")


def few_originals_were_kept(workspace: Workspace, e: Experiment) -> Finding:
    """Compare the share of prompts that kept their original text with `checks.fallback_share`.

    Raises:
        UserError: when a prompt has no rewrite.
    """
    rewrites = rewrites_of(workspace, e)
    reasons = Counter(one.fallback_reason for one in rewrites.values() if one.fallback_reason)
    allowed = workspace.settings.checks.fallback_share
    share = reasons.total() / max(len(rewrites), 1)
    said = f"{reasons.total()} of {len(rewrites)} prompts ({percent(share)}) kept their original text"
    if share > allowed:
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        said += (
            f", more than {percent(allowed)}: {counted}. SPR changes nothing for them; look at the answers "
            f"on record, or choose a stronger `rewriter.model` than {e.rewriter.model}"
        )
    rows = [(reason, str(count)) for reason, count in reasons.most_common()]
    facts = {"originals_kept": reasons.total(), "share": share, "allowed_share": allowed}
    return Finding(share <= allowed, said, facts, ("reason", "prompts"), rows)
