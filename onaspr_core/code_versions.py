"""The version of the code that makes each kind of item.

It is part of the items' keys, and the code version of their asset. Raise it in the change after which the
same inputs give another item: every such item is then made again, and Dagster asks for it by itself. Nothing
is imported here.
"""

MANIFEST = 4
"""How a source is read, and which of its rows a pool takes."""
CLIP = 2
EMBEDDING = 1
"""How a text becomes a vector; captions and prompts."""
NEIGHBOURS = 1
BENCHMARK = 1
"""How a benchmark's list is read, and which of its rows count."""
INVERTED_LATENT = 1
NOISE_PREVIEW = 1
"""The figure of inverted noise, which is a preview and moves no asset."""
REWRITE = 3
"""Template, guard and how an answer is chosen."""
VIDEO = 1
BLEND = 2
"""How the noises of several clips become one. It counts only where `inversion.neighbours` is more than 1: in
the keys of videos of several noises, and in the setting eta instead of an asset's code version."""
FEATURES = 2
SCORES = 3
"""The number and interval of one metric of one variant: an item."""
SCORE_ROWS = 1
"""The table that items become: the columns of its rows, and its notes. No item is made again for it."""
TABLES = 3
FIGURES = 3
GALLERY = 3
REPORT = 2
"""The page of all experiments and studies."""
STUDIES = 1
"""What a study shows of its scores."""
STAGE_TIMES = 1
"""How the stages of Table 4 are timed."""
