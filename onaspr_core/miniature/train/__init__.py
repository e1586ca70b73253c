"""How the shipped models were trained: `python -m onaspr_core.miniature.train --out DIR`.

One module a stage (`autoencoder`, `text_to_video`, `text_to_image`, `scvideo`, `image_text`, `classifiers`),
one loop for all but SCVideo (`fitting`), one form of UNet (`unet`), one place for training data (`data`), and
`export` and `quality` for what is shipped and how good it is. The world itself is the parent package's.
"""
