"""Samplers over sigma (x = x0 + sigma noise) beyond the embedded host's, from their papers' equations.

``denoise(x, sigma)`` answers x0, ``noise()`` draws the next noise. Numbers of calls are those of k-diffusion.
"""

import math

import numpy as np


def _steps(sigmas):
    levels = [float(sigma) for sigma in sigmas]
    return list(zip(levels, levels[1:]))


def _ancestral(now, then):
    """(sigma to step down to, standard deviation of the noise to add): Song et al., eta = 1."""
    up = min(then, math.sqrt(max(then**2 * (now**2 - then**2) / now**2, 0.0)))
    return math.sqrt(then**2 - up**2), up


def _geometric(a, b):
    return math.sqrt(a * b)


def _heun_step(denoise, x, now, then):
    x0 = denoise(x, now)
    d = (x - x0) / now
    euler_x = x + d * (then - now)
    if then == 0:
        return euler_x
    d2 = (euler_x - denoise(euler_x, then)) / then
    return x + (d + d2) / 2 * (then - now)


def restart(denoise, x, sigmas, noise):
    """Heun; from 20 steps on it goes once from 0.1 back up to 2 (Xu et al., Restart sampling)."""
    pairs = _steps(sigmas)
    steps = len(pairs)
    if steps >= 20:
        again = 9
        sigmas = [*np.exp(np.linspace(math.log(pairs[0][0]), math.log(pairs[-1][0]), steps - again)).tolist(), 0.0]
        pairs = _steps(sigmas)
        low = min(range(1, len(sigmas) - 1), key=lambda n: abs(sigmas[n] - 0.1))
        ramp = np.exp(np.linspace(math.log(2.0), math.log(sigmas[low]), again + 1)).tolist()
        pairs[low:low] = list(zip(ramp, ramp[1:]))
    last = pairs[0][0]
    for now, then in pairs:
        if now > last:
            x = x + noise() * math.sqrt(now**2 - last**2)
        x, last = _heun_step(denoise, x, now, then), then
    return x


def dpm_2(denoise, x, sigmas, noise, ancestral=False):
    for now, then in _steps(sigmas):
        x0 = denoise(x, now)
        down, up = _ancestral(now, then) if ancestral else (then, 0.0)
        d = (x - x0) / now
        if down == 0:
            x = x + d * (down - now)
        else:
            middle = _geometric(now, down)
            x_middle = x + d * (middle - now)
            x = x + (x_middle - denoise(x_middle, middle)) / middle * (down - now)
        if up:
            x = x + noise() * up
    return x


def dpm_2_ancestral(denoise, x, sigmas, noise):
    return dpm_2(denoise, x, sigmas, noise, ancestral=True)


def dpmpp_2s_ancestral(denoise, x, sigmas, noise, eta=1.0):
    for now, then in _steps(sigmas):
        x0 = denoise(x, now)
        down, up = _ancestral(now, then)
        if down == 0:
            x = x + (x - x0) / now * (down - now)
        else:
            h = math.log(now / down)
            middle = _geometric(now, down)
            x0_middle = denoise(middle / now * x - math.expm1(-h / 2) * x0, middle)
            x = down / now * x - math.expm1(-h) * x0_middle
        if then > 0:
            x = x + noise() * up
    return x


def dpmpp_sde(denoise, x, sigmas, noise):
    return dpmpp_2s_ancestral(denoise, x, sigmas, noise)


def dpmpp_2m_sde(denoise, x, sigmas, noise):
    old, old_h = None, None
    for now, then in _steps(sigmas):
        x0 = denoise(x, now)
        if then == 0:
            return x0
        h = math.log(now / then)
        gain = -math.expm1(-2 * h)
        x = then / now * math.exp(-h) * x + gain * x0
        if old is not None:
            x = x + 0.5 * gain * (x0 - old) * h / old_h
        x = x + noise() * then * math.sqrt(-math.expm1(-2 * h))
        old, old_h = x0, h
    return x


def lms(denoise, x, sigmas, noise, order=4):
    history = []
    nodes, weights = np.polynomial.legendre.leggauss(4)
    for now, then in _steps(sigmas):
        x0 = denoise(x, now)
        history = [(now, (x - x0) / now), *history][:order]
        points = (now + then) / 2 + nodes * (then - now) / 2
        for j, (sigma_j, d) in enumerate(history):  # integrals of the Lagrange polynomials over the step
            values = np.prod([(points - s) / (sigma_j - s) for k, (s, _) in enumerate(history) if k != j], axis=0)
            x = x + d * float(np.sum(values * weights) * (then - now) / 2)
    return x


def dpm_fast(denoise, x, sigma_min, sigma_max, n, noise):
    """DPM-Solver-2 from the highest to the lowest sigma with as many calls as steps; its levels are its own."""
    levels = np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), n // 2 + n % 2 + 1))
    for i, (now, then) in enumerate(_steps(levels)):
        x0 = denoise(x, now)
        use, at = x0, now
        x_use = x
        if 2 * i + 1 < n:
            at = _geometric(now, then)
            x_use = x + (x - x0) / now * (at - now)
            use = denoise(x_use, at)
        x = x + (x_use - use) / at * (then - now)
    return x


def dpm_adaptive(denoise, x, sigma_min, sigma_max, noise, tolerance=0.05):
    """Heun against Euler, the step in ln sigma chosen by their difference; its number of calls is its own."""
    now, low, h, i = sigma_max, sigma_min, 0.4, 0
    while now > low * 1.0001 and i < 60:
        then = max(now * math.exp(-h), low)
        x0 = denoise(x, now)
        d = (x - x0) / now
        first = x + d * (then - now)
        second = x + (d + (first - denoise(first, then)) / then) / 2 * (then - now)
        error = float((first - second).square().mean().sqrt() / second.square().mean().sqrt())
        if error <= tolerance or h <= 0.1:
            x, now = second, then
        h = min(max(h * math.sqrt(tolerance / max(error, 1e-6)), 0.1), 1.0)
        i += 1
    return x


def lcm(denoise, x, sigmas, noise):
    for now, then in _steps(sigmas):
        x = x0 = denoise(x, now)
        if then > 0:
            x = x0 + then * noise()
    return x

