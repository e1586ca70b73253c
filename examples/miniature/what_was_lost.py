"""What an experiment's videos lose to inverted noise, and what their neighbours show in its place.

After `make studies`: for some η of Figure 4, the Spearman correlation of the neighbour's similarity with the
gain in CLIPSIM, and each prompt of which something was right at η = 0 and is not any more, with the caption
of the clip whose noise it borrowed.

    python examples/miniature/what_was_lost.py [EXPERIMENT]
"""

import sys

import numpy as np

from onaspr_core.evaluation.scores import per_prompt_of, score_made
from onaspr_core.prompts import load_prompts
from onaspr_core.retrieval.neighbours import neighbours_of
from onaspr_core.settings import default_path, load_settings
from onaspr_core.studies.plans import SWEEPS
from onaspr_core.workspace import Workspace

ATTRIBUTES = ("colour", "shape", "motion", "background")


def main(name: str = "miniature") -> None:
    """Print it for an experiment."""
    workspace = Workspace(load_settings(default_path()))
    e = workspace.settings.experiment(name)
    rows = SWEEPS["figure_4"].rows(workspace.settings, e, e.pool_size or 0)
    table, _ = score_made(workspace, e, {row.label: row.made for row in rows})
    prompts, neighbours = load_prompts(workspace, e), neighbours_of(workspace, e)
    similarity = [neighbours[prompt.id][0].similarity for prompt in prompts]
    least, most = min(similarity), max(similarity)
    print(f"similarity of the neighbour: {np.mean(similarity):.2f}, {least:.2f} to {most:.2f}")

    def values(label: str, metric: str) -> list[float]:
        found = per_prompt_of(workspace, table.get(label, metric))
        return [found[prompt.id] for prompt in prompts]

    first, *others = (row.label for row in rows)
    for label in others:
        gain = np.subtract(values(label, "clipsim"), values(first, "clipsim"))
        ranks = [np.argsort(np.argsort(one)) for one in (similarity, gain)]
        print(f"\n{label}: correlation of similarity and gain in CLIPSIM {np.corrcoef(ranks)[0, 1]:+.2f}")
        for attribute in ATTRIBUTES:
            before, after = (values(one, f"right:{attribute}") for one in (first, label))
            for prompt, right, still in zip(prompts, before, after, strict=True):
                if right != still:
                    what = "lost" if right else "won"
                    print(f"  {attribute} {what}: {prompt.text}  <-  {neighbours[prompt.id][0].caption}")


if __name__ == "__main__":
    main(*sys.argv[1:])
