"""open_clip in the tests' environment, where torchvision may have been built for another torch.

torch for the CPU beside the package registry's torchvision, which is built with CUDA: its operators do not load, and its
import fails over those that it then misses. Nothing here calls them, so they are declared.
"""

import sys

import torch


def ready():
    """Make ``import open_clip`` work."""
    try:
        import open_clip  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "open_clip")]:
            del sys.modules[name]
        _held.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            _held[-1].define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import open_clip  # noqa: F401


_held = []
