"""Noise of a batch: each image's own generator, so that a picture does not depend on its batch."""

import torch


class ImageRNG:
    def __init__(self, shape, seeds, **_):
        self.shape, self.generators = tuple(int(n) for n in shape), [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def next(self):
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self.generators])
