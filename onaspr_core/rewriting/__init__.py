"""Semantic-preserving rewriting (SPR): a language model enriches a prompt from similar captions.

What lives here: Eq 7's instruction (`template`), the guard that keeps its promises (`guard`), the OpenAI-API
client (`client`), the embedded language model (`server`), and the stage that stores one rewrite per prompt
(`stage`). What does not: finding the references (`onaspr_core.retrieval`) and deciding for how many steps a
rewrite is used (`onaspr_core.diffusion.semantics`).
"""
