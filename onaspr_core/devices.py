"""Which device computes."""


def chosen_device(device: str = "auto") -> str:
    """Return PyTorch's name of a device; "auto" is a GPU where there is one."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
