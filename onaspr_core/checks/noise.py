"""Checks of inverted noise: that it is there, whole and finite, and how far it is from Gaussian."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from onaspr_core.checks.finding import Finding, every, listed, percent
from onaspr_core.checks.stored import troubles
from onaspr_core.inversion import clip_items
from onaspr_core.settings import CheckSettings, Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace


def every_clip_is_inverted(workspace: Workspace, e: Experiment) -> Finding:
    """Read the inverted noise of every clip that the experiment needs: checksums and values.

    Raises:
        UserError: when neighbours or pool have not been materialized.
    """
    items = [(item.pair_id, item.key) for item in clip_items(workspace, e)]
    return every(
        "clips have inverted noise, undamaged and finite",
        len(items),
        troubles(workspace, INVERTED_LATENT, items, "inverted_latents"),
        "materialize inverted_latents",
    )


def noise_is_nearly_gaussian(workspace: Workspace, e: Experiment) -> Finding:
    """Count the inverted latents whose diagnostics lie outside of the limits that `checks` sets.

    The diagnostics are those of `onaspr_core.diffusion.noise.diagnostics`, as they stand in the records.

    Raises:
        UserError: when neighbours or pool have not been materialized.
    """
    limits = workspace.settings.checks
    items = {item.key: item for item in clip_items(workspace, e)}
    present = sorted(workspace.store.existing(INVERTED_LATENT, list(items)))
    outside = []
    records = workspace.store.map(partial(workspace.store.record, INVERTED_LATENT), present)
    for key, record in zip(present, records, strict=True):
        found = departures(record["diagnostics"], limits)
        name, (value, departure) = max(found.items(), key=lambda one: one[1][1])
        if departure > 1:
            outside.append((departure, items[key].pair_id, name, value))
    outside.sort(reverse=True, key=lambda one: one[0])
    share = len(outside) / max(len(present), 1)
    said = f"{len(outside)} of {len(present)} inverted latents are unlike Gaussian noise"
    if outside:
        said += f", the worst of {listed([pair for _, pair, _, _ in outside])}"
    if share > limits.noise_share:
        said += (
            f"; that is more than {percent(limits.noise_share)}. A large eta would carry it into the videos: "
            "look whether the pool's clips are of the kind that the backbone was trained on, and at the "
            "round-trip error of inverted_latents; `inversion.whitening` makes noise nearer to Gaussian"
        )
    rows = [(pair, name.replace("_", " "), value) for _, pair, name, value in outside]
    facts = {
        "latents": len(present),
        "outside": len(outside),
        "outside_share": share,
        "limits": limits.model_dump(include={name for name in type(limits).model_fields if "noise" in name}),
    }
    return Finding(share <= limits.noise_share, said, facts, ("clip", "farthest off", "value"), rows)


def departures(diagnostics: Mapping[str, Any], limits: CheckSettings) -> dict[str, tuple[str, float]]:
    """Return for each diagnostic its value as text and how far it is off: 1 is at the limit.

    A kurtosis of None is that of a constant latent, which is as far off as can be; a correlation of None
    has no neighbours to be of, and is not looked at.
    """
    mean, variance, kurtosis = (diagnostics[name] for name in ("mean", "variance", "kurtosis"))
    found = {
        "mean": (f"{mean:.3g}", abs(mean) / limits.noise_mean),
        "variance": (
            f"{variance:.3g}",
            abs(math.log(variance)) / math.log(limits.noise_variance) if variance > 0 else math.inf,
        ),
        "kurtosis": ("none", math.inf)
        if kurtosis is None
        else (f"{kurtosis:.3g}", abs(kurtosis - 3) / limits.noise_kurtosis),
    }
    for name in ("spatial_autocorrelation", "temporal_autocorrelation"):
        if diagnostics[name] is not None:
            found[name] = (f"{diagnostics[name]:.3g}", abs(diagnostics[name]) / limits.noise_correlation)
    return found
