"""The child process that serves a GGUF model on 127.0.0.1 with llama.cpp; started by `server`, run by path.

It reads one JSON line of options from standard input, answers one JSON line with its address, and lives
until standard input ends, which it does when the parent stops it, exits, or is killed. It imports nothing of
this project.
"""

import json
import os
import sys
import threading
import time

SECONDS_BETWEEN_LOOKS = 1.0


def serve(model: str, alias: str, api_key: str, context: int, threads: int) -> str:
    """Start serving and return the base address; the server's threads keep running."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.api_keys = [api_key]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = context
    params.n_gpu_layers = 0
    params.n_threads_http = 2
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = -1
    # With flash attention the bits of an answer depend on how much of its prompt was cached by the request
    # before; without, a resumed run answers as an undisturbed one does.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    _alive.append(server)
    return str(server.listening_address)


_alive: list[object] = []


def _leave_with(parent: int) -> None:
    """End this process once the parent is another one: a second way to notice its death."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    parent = os.getppid()
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    try:
        address = serve(**options)
    except (ImportError, RuntimeError, OSError, ValueError) as problem:
        reply.write(json.dumps({"error": f"{type(problem).__name__}: {problem}"}) + "\n")
        reply.flush()
        os._exit(1)
    reply.write(json.dumps({"address": address}) + "\n")
    reply.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
