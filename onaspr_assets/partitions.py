"""The one partition dimension: experiments, as `settings.toml` names them.

Partitions are for few, human-named things. Prompts, clips and videos are work items, never partitions.
"""

import dagster as dg

experiments = dg.DynamicPartitionsDefinition(name="experiments")
"""Experiments enter when the settings are observed (`observe_settings`), not when code is loaded."""
EXPERIMENTS = "experiments"
"""The name of that dimension on the Dagster instance."""
