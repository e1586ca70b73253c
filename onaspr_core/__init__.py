"""The method of ONASPR: noise and prompts for text-to-video diffusion models.

Everything the method needs lives here and can be used without any orchestrator. What does not belong
here: dagster. A test walks the imports and fails where this package reaches for it.

Words: a stage is a function that makes the items of one asset, an asset its face in Dagster. An item is one
thing stored under one key, a batch the items that are made by one call. A step is one of diffusion or of
training.
"""

from fsspec import register_implementation as _register

for _scheme in ("http", "https"):
    _register(_scheme, "onaspr_core.web.PublicWeb", clobber=True, errtxt="run `pip install aiohttp`")
