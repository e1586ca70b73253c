"""Training a backbone on a pool's clips: `python -m onaspr_core.training`.

`scvideo` is what is learnt and from what, `state` how a run is stopped and goes on, `averages` the average of
weights that is saved. A room of its own: pools know no models, and backbones no pools. The models of the
miniature are trained in `onaspr_core.miniature.train`.
"""
