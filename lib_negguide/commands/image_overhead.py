"""``bench image-overhead``: what an image prompt costs a model call, against none and against diffusers' own IP-Adapter, in one run."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Callable, Dict, List

from lib_negguide import plots
from lib_negguide.commands import common, overhead
from lib_negguide.errors import SettingsError

FEATURE = 1024
TOKENS = 4

EXAMPLES = """\
examples:
  python -m lib_negguide bench image-overhead
  python -m lib_negguide bench image-overhead --random sd15 --rounds 5 --size 256

One model call of two rows, with a random adapter of the base kind (4 tokens): a negative picture on the unconditional row,
a positive one on the other. outside is NegGuide with both pictures outside their windows. The variants alternate; a ratio
is the median over the rounds of time to that of the same round without an adapter. Processor time on the CPU.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "image-overhead", help="time of an image prompt, also against diffusers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--rounds", type=int, default=25, help="default %(default)s")
    parser.add_argument("--calls", type=int, default=10, help="model calls a round (default %(default)s)")
    parser.add_argument("--random", choices=("sd15",), help="random weights of that size instead of a model")
    parser.add_argument("--size", type=common.size, help="e.g. 512 (default: what the model was made for; 128 for --random on a CPU)")
    common.model_options(parser)
    parser.set_defaults(run=run)


def run(arguments) -> int:
    for name in ("rounds", "calls"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    host = overhead._random_sd15(arguments) if arguments.random else common.load(arguments)
    on_cpu = host.model.device.type == "cpu"
    small = arguments.random is None and arguments.model is None
    size = arguments.size or ((64, 64) if small else (128, 128) if on_cpu else (512, 512))
    with host.threads():
        times = measure(variants(host.model, size, arguments.calls), arguments.rounds, _clock(host.model.device))
    print(f"{host.model.name} on {host.model.device} ({str(host.model.dtype)[6:]}), {size[0]}x{size[1]}, a model call of two rows, "
          f"{arguments.rounds} rounds of {arguments.calls} calls")
    print(report(times, arguments.calls))
    return 0


def variants(model, size, calls: int) -> Dict[str, Callable[[], float]]:
    """Name to a function that makes so many model calls and gives the last output."""
    import torch

    from lib_negguide.image_prompt import checkpoints, injection

    unet = model.unet
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(shape, generator=generator) * 0.1

    layers = [layer for _, layer in injection.cross_attention(unet)]
    width = layers[0].to_k.in_features
    proj = {"proj.weight": noise(TOKENS * width, FEATURE), "proj.bias": noise(TOKENS * width),
            "norm.weight": 1 + noise(width), "norm.bias": noise(width)}
    attention = {f"{2 * n + 1}.to_{part}_ip.weight": noise(layer.to_k.out_features, width)
                 for n, layer in enumerate(layers) for part in "kv"}
    nested = {"image_proj": proj, "ip_adapter": attention}
    features = noise(2, FEATURE) * 10
    adapter = checkpoints.recognise(nested, "random")
    pictures = [injection.image_tokens(adapter, tokens) for tokens in adapter.tokens(features)]

    place = {"device": model.device, "dtype": model.dtype}
    x, context = noise(2, 4, size[1] // 8, size[0] // 8).to(**place), noise(2, 77, width).to(**place)
    timesteps = torch.full((2,), 500.0, device=model.device)
    added = {}
    if model.kind == "sdxl":
        pooled = unet.add_embedding.linear_1.in_features - 6 * unet.config.addition_time_embed_dim
        added = {"text_embeds": torch.zeros(2, pooled, **place), "time_ids": torch.zeros(2, 6, **place)}

    @torch.no_grad()
    def call(**more):
        return unet(x, timesteps, encoder_hidden_states=context, added_cond_kwargs={**added, **more}, return_dict=False)[0]

    def plain():
        return [call() for _ in range(calls)][-1]

    def ours(weight: float):
        def run():
            with injection.Injection(unet) as inside:
                for _ in range(calls):
                    inside.begin([[(picture, weight)] for picture in pictures])
                    out = call()
            return out
        return run

    theirs = _DiffusersAdapter(unet, nested)

    def diffusers():
        with theirs:
            return [call(image_embeds=[features[:, None].to(**place)]) for _ in range(calls)][-1]

    return {"none": plain, "outside": ours(0.0), "NegGuide": ours(1.0), "diffusers": diffusers}


class _DiffusersAdapter:
    """diffusers' own IP-Adapter in a UNet while entered."""

    def __init__(self, unet, nested):
        self.unet = unet
        self.own = dict(unet.attn_processors)
        unet._load_ip_adapter_weights([nested])
        self.processors, self.projection = dict(unet.attn_processors), unet.encoder_hid_proj
        self.__exit__()

    def __enter__(self):
        self._set(self.processors, self.projection, "ip_image_proj")

    def __exit__(self, *_error) -> None:
        self._set(self.own, None, None)

    def _set(self, processors, projection, kind) -> None:
        self.unet.set_attn_processor(dict(processors))
        self.unet.encoder_hid_proj = projection
        self.unet.config.encoder_hid_dim_type = kind


def _clock(device) -> Callable[[], float]:
    if device.type == "cpu":
        return time.process_time
    import torch

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def measure(functions: Dict[str, Callable], rounds: int, clock: Callable[[], float]) -> Dict[str, List[float]]:
    """Seconds of each function in each round; every one is called once before, and the order rotates."""
    return overhead.measure({name: lambda _, f=f: f() for name, f in functions.items()}, rounds, dict.fromkeys(functions, clock))


def report(times: Dict[str, List[float]], calls: int) -> str:
    """Median milliseconds a call, and ratios to no adapter."""
    rows = []
    for name, seconds in times.items():
        ratios = [mine / none for mine, none in zip(seconds, times["none"])]
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        rows.append([name, f"{1000 * statistics.median(seconds) / calls:.2f}", f"{statistics.median(ratios):.3f}", f"{low:.3f}–{high:.3f}"])
    return plots.table(["adapter", "ms per call", "ratio to none", "middle half"], rows)
