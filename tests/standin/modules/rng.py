"""Noise of a batch: each image's own generator, so that a picture does not depend on its batch. Seeds the global one too."""

import torch
from modules import shared


class ImageRNG:
    def __init__(self, shape, seeds, subseeds=None, subseed_strength=0.0, **_):
        self.shape, self.seeds, self.is_first = tuple(int(n) for n in shape), seeds, True
        self.subseeds, self.subseed_strength = subseeds, subseed_strength
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def _first(self):
        drawn = []
        for number, (seed, generator) in enumerate(zip(self.seeds, self.generators)):
            torch.manual_seed(int(seed))
            noise = torch.randn(self.shape, generator=generator)
            if self.subseed_strength:
                torch.manual_seed(int(self.subseeds[number]))
                noise = slerp(self.subseed_strength, noise, torch.randn(self.shape))
            drawn.append(noise)
        delta = shared.opts.eta_noise_seed_delta
        if delta:
            self.generators = [torch.Generator().manual_seed(int(seed) + delta) for seed in self.seeds]
        return torch.stack(drawn)

    def next(self):
        if self.is_first:
            self.is_first = False
            return self._first()
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self.generators])


def slerp(share, low, high):
    """Between two noises on the sphere; (C, H, W)."""
    omega = torch.acos((low / low.norm() * high / high.norm()).sum())
    return (torch.sin((1 - share) * omega) * low + torch.sin(share * omega) * high) / torch.sin(omega)
