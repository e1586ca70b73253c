"""The candidate pool: sources, manifest, clips and the shards that hold them.

What does not belong here: captions' embeddings and neighbours (`retrieval`), and anything that needs a model.
"""
