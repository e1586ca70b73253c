"""What intermediate items look like, for the pages of their assets in Dagster, where drawing it takes more.

Belongs here: pictures of what a stage made. Does not belong here: files for people (`onaspr_core.reports`)
and sheets of frames (`media.contact_sheet`). Stages import this room, which imports none but for types.
"""
