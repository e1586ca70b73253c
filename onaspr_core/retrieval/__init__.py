"""From a prompt to the captioned clips nearest to it: embeddings, the caption index, neighbours.

What does not belong here: the pool itself (`pool`), and what is done with neighbours (`inversion`,
`rewriting`).
"""
