"""UniPC over continuous time 0..1 (Zhao et al., 2302.04867), of order 2 with data prediction."""

import math

import torch


class NoiseScheduleVP:
    """alpha, sigma and half log-SNR at times up to T = 1, from the training timesteps' abar."""

    def __init__(self, schedule="discrete", alphas_cumprod=None):
        self.log_alphas = 0.5 * alphas_cumprod.double().log()
        self.T, self.total_N = 1.0, len(alphas_cumprod)

    def level(self, t):
        place = min(max(float(t) * self.total_N - 1, 0.0), self.total_N - 1.0)
        low = min(int(place), self.total_N - 2)
        log_alpha = float(self.log_alphas[low] + (self.log_alphas[low + 1] - self.log_alphas[low]) * (place - low))
        sigma = math.sqrt(-math.expm1(2 * log_alpha))
        return math.exp(log_alpha), sigma, log_alpha - math.log(sigma)


class UniPC:
    def __init__(self, noise_schedule, eps):
        """``eps(x, timestep)`` asks the model."""
        self.noise_schedule, self.eps = noise_schedule, eps

    def get_time_steps(self, skip_type, t_T, t_0, N, device):
        """N + 1 falling times."""
        return torch.linspace(t_T, t_0, N + 1)

    def x0(self, x, t):
        alpha, sigma, _ = self.noise_schedule.level(t)
        return (x - sigma * self.eps(x, (t - 1 / self.noise_schedule.total_N) * 1000)) / alpha

    def sample(self, x, steps, t_start=None, step=lambda x0: None):
        """One model call a step, at the times but the last."""
        if steps < 3:
            raise AssertionError("UniPC of this order needs at least three steps")
        level = self.noise_schedule.level
        times = self.get_time_steps("time_uniform", t_start or self.noise_schedule.T, 1 / self.noise_schedule.total_N, steps, "cpu").tolist()
        now, before = times[0], None
        m_now = self.x0(x, now)
        step(m_now)
        for then in times[1:]:
            (_, sigma, lam), (alpha_then, sigma_then, lam_then) = level(now), level(then)
            h = lam - lam_then
            phi = math.expm1(h)
            base = sigma_then / sigma * x - alpha_then * phi * m_now
            if before is not None:
                r = (lam - level(before[0])[2]) / h
                slope = (before[1] - m_now) / r
            if then == times[-1]:  # the last is of first order, uncorrected
                return base
            predicted = base if before is None else base - alpha_then * phi * 0.5 * slope
            m_then = self.x0(predicted, then)
            if before is None:
                x = base - alpha_then * phi * 0.5 * (m_then - m_now)
            else:
                first = (phi / h - 1) / phi
                second = 2 * ((phi / h - 1) / h - 0.5) / phi
                new = (second - r * first) / (1 - r)
                x = base - alpha_then * phi * ((first - new) * slope + new * (m_then - m_now))
            before, now, m_now = (now, m_now), then, m_then
            step(m_now)
