"""``bench overhead``: what NegGuide costs, against a loop or a WebUI without it, alternating in one run."""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from typing import Callable, Dict, List

from lib_negguide import plots, world
from lib_negguide.commands import common
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.settings import Settings

NEGATIVE = "mustache, hat"
VARIANTS = ("stock", "disabled", "windowed")

EXAMPLES = """\
examples:
  python -m lib_negguide bench overhead
  python -m lib_negguide bench overhead --random sd15 --rounds 5 --steps 4
  python -m lib_negguide bench overhead --webui-url http://127.0.0.1:7860 --stock-url http://127.0.0.1:7861

stock is ordinary guidance with a negative prompt, disabled is NegGuide switched off with the
same one, windowed has it in a window: all make equally many model evaluations. The variants
alternate; a ratio is the median over the rounds of time to stock's time in the same round. On
the CPU it is the processor's time, which other programs disturb less (also of a WebUI on this
machine, under Linux); else, the clock's.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "overhead", help="time and memory against a loop without NegGuide", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--rounds", type=int, default=25, help="default %(default)s")
    parser.add_argument("--random", choices=("sd15",), help="random weights of that size instead of a model")
    parser.add_argument("--webui-url", metavar="URL", help="a running WebUI with NegGuide, instead of the embedded host")
    parser.add_argument("--stock-url", metavar="URL", help="another one without it, on the same machine and model")
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)  # one variant's peak memory, in a process of its own
    common.model_options(parser)
    common.sampling_options(parser)
    parser.set_defaults(run=run, batch=1)


def run(arguments) -> int:
    if arguments.rounds < 1:
        raise SettingsError("--rounds", arguments.rounds, "a whole number from 1")
    if arguments.webui_url:
        from lib_negguide.commands import overhead_webui

        return overhead_webui.run(arguments)
    if arguments.stock_url:
        raise SettingsError("--stock-url", arguments.stock_url, "only together with --webui-url")
    host = _random_sd15(arguments) if arguments.random else common.load(arguments)
    options = _options(arguments, host)
    variants = _variants(host, options)
    if arguments.only:
        variants[arguments.only](1)
        variants[arguments.only](2)
        print(_peak(host))
        return 0
    clock = time.process_time if host.model.device.type == "cpu" else time.perf_counter
    times = measure(variants, arguments.rounds, dict.fromkeys(variants, clock))
    memory = {name: _peak_alone(name, arguments) for name in VARIANTS}
    width, height = options["size"]
    print(f"{host.model.name} on {host.model.device} ({str(host.model.dtype)[6:]}), {width}x{height}, {options['steps']} steps, "
          f"{options['sampler']}, {arguments.rounds} rounds")
    print(report(times, {name: f"{memory[name] / memory['stock']:.3f}" for name in VARIANTS}))
    return 0


def measure(
    variants: Dict[str, Callable[[int], object]], rounds: int, clocks: Dict[str, Callable[[], float]]
) -> Dict[str, List[float]]:
    """Seconds of each variant in each round by its clock; every one is called once before, and the order rotates."""
    from tqdm import tqdm

    names = list(variants)
    for name in names:
        variants[name](0)
    times: Dict[str, List[float]] = {name: [] for name in names}
    for number in tqdm(range(rounds), desc="rounds", disable=None, leave=False):
        for name in names[number % len(names):] + names[:number % len(names)]:
            gc.collect()
            start = clocks[name]()
            variants[name](number)
            times[name].append(clocks[name]() - start)
    return times


def report(times: Dict[str, List[float]], memory: Dict[str, str]) -> str:
    """A table of median times and ratios to the first variant, with the middle half of the rounds' ratios."""
    first = next(iter(times))
    rows = []
    for name, seconds in times.items():
        ratios = [mine / stock for mine, stock in zip(seconds, times[first])]
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        rows.append([name, f"{1000 * statistics.median(seconds):.1f}", f"{statistics.median(ratios):.3f}",
                     f"{low:.3f}–{high:.3f}", memory.get(name, "–")])
    return plots.table(["variant", "ms per picture", f"ratio to {first}", "middle half", "peak memory ratio"], rows)


def _options(arguments, host) -> dict:
    if arguments.random:
        on_cpu = host.model.device.type == "cpu"
        arguments.size = arguments.size or ((128, 128) if on_cpu else (512, 512))
    options = common.sampling(arguments, host)
    options.pop("batch_size")
    return options


def _variants(host, options) -> Dict[str, Callable[[int], object]]:
    windowed = Settings.parse({"negatives": [{"text": NEGATIVE, "start": 5.8, "stop": 1.6}]})

    def sampled(settings: Settings, box: str) -> Callable[[int], object]:
        return lambda seed: host.sample([world.PROMPT], [seed], settings, negative_prompts=box, **options).images

    return {
        "stock": lambda seed: _stock(host, seed, **options),
        "disabled": sampled(Settings(enabled=False), NEGATIVE),
        "windowed": sampled(windowed, ""),
    }


def _stock(host, seed: int, steps: int, cfg_scale: float, sampler: str, scheduler: str, size):
    """Ordinary classifier-free guidance as anybody would write it: no plan, no trace."""
    import torch

    from lib_negguide.hosts.embedded import samplers

    model, levels, chosen = host.model, host.levels, samplers.sampler(sampler)
    with torch.no_grad():
        context = torch.cat([model.encode([NEGATIVE], negative=True).crossattn, model.encode([world.PROMPT]).crossattn])
        generator = torch.Generator().manual_seed(seed)

        def noise():
            return torch.randn((1, 4, size[1] // 8, size[0] // 8), generator=generator).to(model.device)

        def denoise(x, sigma):
            rows = torch.cat([x, x]) / (sigma**2 + 1.0) ** 0.5
            timesteps = levels.timestep(sigma).expand(2).to(model.device)
            out = model.unet(rows.to(model.dtype), timesteps, encoder_hidden_states=context, return_dict=False)[0].to(x.dtype)
            d_u, d_c = (torch.cat([x, x]) - sigma * out).chunk(2)
            return d_u + cfg_scale * (d_c - d_u)

        sigmas, _ = samplers.noise_levels(chosen, scheduler, steps, levels)
        return model.decode(chosen.step(denoise, noise() * sigmas[0], sigmas, noise))


def _random_sd15(arguments):
    """An embedded host with SD1.5's sizes and random weights."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from lib_negguide.hosts.embedded import checkpoint
    from lib_negguide.hosts.embedded.host import EmbeddedHost
    from lib_negguide.hosts.embedded.text import Encoder, TextEncoder, tokenizer_of

    common.quiet()
    torch.manual_seed(0)
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = getattr(torch, arguments.dtype) if arguments.dtype else torch.float32 if device.type == "cpu" else torch.float16
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).to(device, dtype)
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4).to(device)
    clip = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                                        projection_dim=768, bos_token_id=49406, eos_token_id=49407)).to(device)
    for module in (unet, vae, clip):
        module.eval().requires_grad_(False)
    text = TextEncoder([Encoder(clip)], tokenizer_of(None), device, dtype)
    betas = torch.linspace(checkpoint.BETAS[0] ** 0.5, checkpoint.BETAS[1] ** 0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1.0 - betas, 0).float()
    return EmbeddedHost(checkpoint.Model(unet, vae, text, "sd1", "eps", alphas, device, dtype, "random weights of SD1.5's size"))


def _peak(host) -> int:
    """Peak memory of this process: bytes on the GPU where the model is there, else resident."""
    import torch

    if host.model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(host.model.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak_alone(name: str, arguments) -> int:
    """Peak memory of one variant, in a process that runs nothing else."""
    command = [sys.executable, "-m", "lib_negguide", "bench", "overhead", "--only", name, "--steps", str(min(arguments.steps, 4))]
    for option in ("model", "device", "dtype", "random", "sampler", "scheduler"):
        value = getattr(arguments, option)
        command += [f"--{option}", str(value)] if value else []
    command += ["--size", "x".join(map(str, arguments.size))] if arguments.size else []
    done = subprocess.run(command, cwd=world.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise HostError(f"NegGuide: measuring memory failed: {done.stderr.strip().splitlines()[-1:]}")
    return int(done.stdout.split()[-1])
