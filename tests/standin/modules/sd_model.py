"""A Stable-Diffusion-1-shaped checkpoint behind the attributes of the host's model object."""

import types

import torch
from modules import devices, shared

from lib_negguide.hosts.embedded.samplers import Levels


class TextEncoder:
    """Prompt texts to conditions: chunks of 75 tokens, each framed to 77, side by side; emphasis as "Original"."""

    def __init__(self, text):
        """``text``: the embedded host's encoder, of which the chunks and the transformer are taken."""
        self.chunker, self.tokenizer, self.transformer = text.chunker, text.chunker.tokenizer, text.encoders[0].model
        self.id_start, self.id_end = text.chunker.start, text.chunker.end

    def tokenize_line(self, line):
        """Chunks of 77 tokens with their multipliers, and how many tokens the line has."""
        chunks = [types.SimpleNamespace(tokens=list(chunk.ids), multipliers=list(chunk.weights), fixes=[]) for chunk in self.chunker(line)]
        return chunks, sum(token not in (self.id_start, self.id_end) for chunk in chunks for token in chunk.tokens)

    @torch.no_grad()
    def __call__(self, text):
        """(77 k, channels)."""
        encoded = []
        for chunk in self.chunker(text):
            skip = shared.opts.CLIP_stop_at_last_layers
            answer = self.transformer(input_ids=torch.tensor([chunk.ids]), output_hidden_states=skip > 1)
            z = answer.last_hidden_state
            if skip > 1:
                z = self.transformer.text_model.final_layer_norm(answer.hidden_states[-skip])
            if any(weight != 1.0 for weight in chunk.weights):
                mean = z.mean()
                z = z * torch.tensor(chunk.weights)[None, :, None]
                z = z * (mean / z.mean())
            encoded.append(z[0])
        return torch.cat(encoded)


class Model:
    """What scripts read of ``shared.sd_model``; ``apply_model`` predicts eps."""

    parameterization, cond_stage_key = "eps", "txt"
    is_sdxl = is_sd2 = is_sd3 = is_ssd = is_sdxl_inpaint = False
    is_sd1 = True

    def __init__(self, parts, info):
        self.sd_checkpoint_info, self.sd_model_hash, self.sd_model_checkpoint = info, info.shorthash, info.filename
        self.device, self.dtype = devices.device, devices.dtype
        self.first_stage_model, self._scale = parts.vae, parts.vae.config.scaling_factor
        self.cond_stage_model = TextEncoder(parts.text)
        self.model = types.SimpleNamespace(diffusion_model=parts.unet, conditioning_key="crossattn")
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0).float()
        self.gain = 1.0
        self.applied_token_merged_ratio = 0
        self.cond_stage_model_empty_prompt = self.get_learned_conditioning([""])

    def get_learned_conditioning(self, texts):
        encoded = [self.cond_stage_model(text) for text in texts]
        longest = max(z.shape[0] for z in encoded)
        empty = self.cond_stage_model("") if any(z.shape[0] < longest for z in encoded) else None
        return torch.stack([z if z.shape[0] == longest else torch.cat([z, *[empty] * ((longest - z.shape[0]) // 77)])
                            for z in encoded])

    def apply_model(self, x, t, cond):
        return self.model.diffusion_model(x, t, torch.cat(cond["c_crossattn"], 1)).sample * self.gain

    @torch.no_grad()
    def encode(self, image):
        """(B, 3, H, W) in -1..1 to latents; draws from the global generator, as the real host does."""
        return self.first_stage_model.encode(image).latent_dist.sample() * self._scale

    @torch.no_grad()
    def decode_first_stage(self, z):
        return self.first_stage_model.decode(z / self._scale).sample


class Denoiser(torch.nn.Module):
    """x0 predictions over sigma from a model that predicts eps over timesteps."""

    def __init__(self, model):
        super().__init__()
        self.inner_model, self.levels = model, Levels(model.alphas_cumprod)
        self.sigmas, self.t_to_sigma = self.levels.sigmas, self.levels.sigma

    def get_sigmas(self, n):
        return torch.cat([self.t_to_sigma(torch.linspace(len(self.sigmas) - 1, 0, n)), torch.zeros(1)])

    def sigma_to_t(self, sigma):
        return torch.stack([self.levels.timestep(level) for level in sigma])

    def forward(self, x, sigma, cond):
        wide = sigma.view(-1, 1, 1, 1)
        return x - wide * self.inner_model.apply_model(x / (wide**2 + 1) ** 0.5, self.sigma_to_t(sigma), cond)


class TimestepDenoiser(torch.nn.Module):
    """eps predictions over timesteps."""

    def __init__(self, model):
        super().__init__()
        self.inner_model = model

    def forward(self, x, t, cond):
        return self.inner_model.apply_model(x, t, cond)
