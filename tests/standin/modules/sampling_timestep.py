"""Samplers over training timesteps (x = sqrt(abar) x0 + sqrt(1 - abar) noise), from their papers' equations.

``run.eps(x, t)`` asks the model; ``t`` is a timestep 1..999, of UniPC a fraction too.
"""

import itertools
import math

from modules.models.diffusion.uni_pc import uni_pc


class Run:
    """``whole``: from pure noise, not img2img."""

    def __init__(self, model, extra_args, callback, alphas, whole):
        self.model, self.extra_args, self.callback, self.whole = model, extra_args, callback, whole
        self.alphas = alphas.double()

    def eps(self, x, t):
        return self.model(x, x.new_full((x.shape[0],), float(t)), **self.extra_args)

    def split(self, x, eps, t):
        """(x0, abar) at timestep t."""
        abar = float(self.alphas[int(t)])
        return (x - math.sqrt(1 - abar) * eps) / math.sqrt(abar), abar

    def step(self, i, x, x0):
        self.callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})


def _pairs(timesteps):
    """(t, previous t) from the noisiest; the rising ``timesteps`` begin with the last place to arrive at."""
    falling = [int(t) for t in timesteps][::-1]
    return list(zip(falling, falling[1:]))


def _to(x0, eps, abar):
    return math.sqrt(abar) * x0 + math.sqrt(1 - abar) * eps


def ddim(run, x, timesteps):
    for i, (t, before) in enumerate(_pairs(timesteps)):
        eps = run.eps(x, t)
        x0, _ = run.split(x, eps, t)
        x = _to(x0, eps, float(run.alphas[before]))
        run.step(i, x, x0)
    return x


def ddim_cfgpp(run, x, timesteps):
    """CFG++ (Chung et al.): renoise with the unconditional prediction; the scale is taken as its 12.5th part."""
    run.model.cond_scale_miltiplier = 1 / 12.5
    run.model.need_last_noise_uncond = True
    for i, (t, before) in enumerate(_pairs(timesteps)):
        x0, _ = run.split(x, run.eps(x, t), t)
        x = _to(x0, run.model.last_noise_uncond, float(run.alphas[before]))
        run.step(i, x, x0)
    return x


def plms(run, x, timesteps):
    """Adams-Bashforth on eps (Liu et al., PNDM), started by one improved Euler step: one call more than steps."""
    old = []
    for i, (t, before) in enumerate(_pairs(timesteps)):
        eps = run.eps(x, t)

        def move(eps):
            x0, _ = run.split(x, eps, t)
            return _to(x0, eps, float(run.alphas[before])), x0

        if not old:
            use = (eps + run.eps(move(eps)[0], before)) / 2
        elif len(old) == 1:
            use = (3 * eps - old[-1]) / 2
        elif len(old) == 2:
            use = (23 * eps - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            use = (55 * eps - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        old = [*old, eps][-3:]
        x, x0 = move(use)
        run.step(i, x, x0)
    return x


def unipc(run, x, timesteps):
    alphas = run.alphas
    solver = uni_pc.UniPC(uni_pc.NoiseScheduleVP(alphas_cumprod=alphas), run.eps)
    start = None if run.whole else (int(timesteps[-1]) + 1) / 1000
    numbers = itertools.count()
    return solver.sample(x, len(timesteps), start, lambda x0: run.step(next(numbers), x, x0))
