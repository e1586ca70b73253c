"""The method of ONASPR: noise and prompts for text-to-video diffusion models.

Everything the method needs lives here and can be used without any orchestrator. What does not belong
here: dagster. A test walks the imports and fails where this package reaches for it.
"""
