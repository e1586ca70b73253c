"""Components that take turns on a device: one is there while it computes, the others wait in main memory."""

from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import nn


class Turns:
    """Components of one model, of which at most one is on the device."""

    def __init__(self, device: torch.device) -> None:
        """Begin without components."""
        self._device = device
        self._there: nn.Module | None = None

    def add(self, module: Any) -> Any:
        """Let a module take its turn whenever it is called, and return it.

        An autoencoder of diffusers' takes it for `encode` and `decode` too.
        """
        module.to("cpu")
        return add_hook_to_module(module, _Turn(self))

    def take(self, module: nn.Module) -> None:
        """Bring a module to the device, after the one that was there has left it."""
        if module is self._there:
            return
        if self._there is not None:
            self._there.to("cpu")
            self._there = None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        try:
            module.to(self._device)
        except Exception:
            # It was too large, and would stay there by half.
            module.to("cpu")
            raise
        self._there = module


class _Turn(ModelHook):  # type: ignore[misc]
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Take the turn; arguments are on the device already."""
        self._turns.take(module)
        return args, kwargs
