"""Where work is done: in this process, or spread over the workers of a Ray cluster."""
