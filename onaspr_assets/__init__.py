"""The Dagster side of ONASPR: assets, partitions, resources, sensors.

An asset body here resolves what to work on, calls `onaspr_core`, and returns what happened. What does not
belong here: the method. Heavy libraries are imported inside asset bodies, so that definitions load fast.
"""
