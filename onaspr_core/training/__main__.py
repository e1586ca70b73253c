"""`python -m onaspr_core.training --backbone NAME --pool NAME --output FOLDER`: train SCVideo on a pool.

What was inserted into Stable Diffusion learns, the rest stays. The folder then holds a backbone of the family
scvideo: name it as `path` in the settings.
"""

import argparse
import logging
import sys
from pathlib import Path

from onaspr_core.batches import is_out_of_memory
from onaspr_core.errors import PlainError
from onaspr_core.settings import default_path, load_settings
from onaspr_core.training.scvideo import Plan, train
from onaspr_core.workspace import Workspace


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the folder; return 1, with a sentence, where it fails."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.training", description=__doc__)
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    parser.add_argument("--backbone", required=True, help="a name under [backbones], of family scvideo")
    parser.add_argument("--pool", required=True, help="a name under [pools]; its clips must be there")
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained backbone")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="in all (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=Plan.batch_size, help="clips (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=Plan.learning_rate, help="(%(default)s)")
    parser.add_argument(
        "--empty-prompts", type=float, default=Plan.empty_prompts, help="share without caption (%(default)s)"
    )
    parser.add_argument(
        "--ema-decay", type=float, default=Plan.ema_decay, help="save an average of the weights (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=Plan.seed, help="(%(default)s)")
    parser.add_argument("--checkpoint-every", type=int, default=Plan.checkpoint_every, help="(%(default)s)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, more time")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    chosen = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, backbone, pool, output, resume = (
        chosen.pop(name) for name in ("settings", "backbone", "pool", "output", "resume")
    )
    try:
        train(Workspace(load_settings(settings)), backbone, pool, output, Plan(**chosen), resume)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        remedy = "take a smaller --batch-size, or --gradient-checkpointing"
        print(f"the GPU's memory is too small: {problem}; {remedy}", file=sys.stderr)
        return 1
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
