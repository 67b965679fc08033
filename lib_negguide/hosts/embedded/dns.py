"""Auto-DNP on the embedded host: the sampler, the captioner and the scores that :mod:`lib_negguide.dns` asks for."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple
from weakref import WeakKeyDictionary

import torch

from lib_negguide import __version__, captioners, dns, world
from lib_negguide.cache import Pictures
from lib_negguide.errors import CaptionerError, ModelError
from lib_negguide.hosts.embedded import scores
from lib_negguide.hosts.embedded.result import Result, pil
from lib_negguide.settings import Dnp, Dns, Settings

_fingerprints: WeakKeyDictionary = WeakKeyDictionary()


def auto(host, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, *, captions: Optional[Sequence[str]] = None,
         captioner=None, cache: Optional[Pictures] = None, clip=None, on_dns_step=None, **options) -> Result:
    """The whole of auto-DNP: negative pictures, their captions, the pictures with them.

    ``captions``: one a picture, in place of the negative pictures' (DNP by hand). ``captioner``: one, or what opens one for
    a ``with`` block, or ``None`` for the one that the settings name (see :func:`opener`). ``clip``: a
    :class:`lib_negguide.metrics.ClipScores` for settings that compare (:func:`needs_clip`); one is opened where it is ``None``.
    ``on_dns_step``: as ``on_step``, for the negative pictures. ``options``: as :meth:`EmbeddedHost.sample`.
    """
    dnp = settings.dnp
    with ExitStack() as stack:
        if clip is None and needs_clip(dnp, captions):
            clip = stack.enter_context(scores.opened(host))
        if captions is None:
            found, calls = negatives(host, dnp, prompts, seeds, captioner, cache=cache, score=clip and clip.similarities,
                                     **{**options, "on_step": on_dns_step})
        else:
            found, calls = [dns.Negative(caption) for caption in captions], 0
        result = host.sample_once(prompts, seeds, settings, captions=[negative.text for negative in found], **options)
        result.negatives, result.dns_calls = found, calls
        if dnp.scores or dnp.keep_better:
            compare(host, result, prompts, seeds, settings, clip, options)
    return result


def needs_clip(dnp: Dnp, captions: Optional[Sequence[str]] = None) -> bool:
    """Whether these settings compare pictures by CLIP."""
    return dnp.scores or dnp.keep_better or (captions is None and dnp.several == "best" and dnp.samples > 1)


def negatives(host, dnp: Dnp, prompts: Sequence[str], seeds: Sequence[int], captioner=None, *, cache: Optional[Pictures] = None,
              score=None, on_step=None, **options) -> Tuple[List[dns.Negative], int]:
    """The negatives for :meth:`EmbeddedHost.sample` with ``options``, and the model calls that a negative picture took (0: none made)."""
    calls = 0
    if captioner is None and dnp.captioner != "text":
        captioner = opener(dnp, host)
    cheap = dns_options(dnp, options)

    def sample(wanted: Sequence[dns.Wanted]) -> List[Any]:
        nonlocal calls
        result = host.sample_once([one.prompt for one in wanted], [one.seed for one in wanted], dns_settings(dnp), on_step=on_step, **cheap)
        calls = len(result.trace.calls)
        return result.pil()

    found = dns.negatives(dnp, prompts, seeds, sample, captioner, cache=cache, score=score,
                          identity=None if cache is None else identity(host, dnp, cheap))
    return found, calls


def dns_settings(dnp: Dns) -> Settings:
    """Settings under which the picture made is the negative picture."""
    return Settings(dns=Dns(scale=dnp.scale, meaning=dnp.meaning))


def dns_options(dnp: Dnp, options: Dict[str, Any]) -> Dict[str, Any]:
    """The options of the run, with the steps and size of its negative pictures; nothing else acts in them, and they begin with noise."""
    without = ("negative_prompts", "captions", "on_step", "images", "mask", "start", "open_captioner", "open_clip")
    kept = {name: value for name, value in options.items() if name not in without}
    least = 2 if str(kept.get("sampler")).lower() == "ddim" else 1
    steps, size = kept.get("steps", 30), kept.get("size", (512, 512))
    return {**kept, "steps": max(least, dns.steps_of(dnp, steps)), "size": dns.size_of(dnp, size)}


def identity(host, dnp: Dns, options: Dict[str, Any]) -> Dict[str, Any]:
    """All that a negative picture depends on, but its prompt and seed."""
    model = host.model
    run = {name: value for name, value in options.items() if name not in ("cfg_scale", "batch_size")}
    return {"host": "embedded", "version": __version__, "model": fingerprint(model), "dtype": str(model.dtype),
            "device": model.device.type, "scale": dnp.away(options.get("cfg_scale", 7.5)), "run": run}


def fingerprint(model) -> str:
    """SHA-256 of all weights and of what else makes a picture of them; computed once for a loaded model."""
    if model.unet not in _fingerprints:
        sha = hashlib.sha256()
        tokenizer = model.text.chunker.tokenizer
        words = sorted(tokenizer.get_vocab().items()), list(getattr(tokenizer, "bpe_ranks", ()))
        told = model.kind, model.prediction, model.vae.config.scaling_factor, model.alphas_cumprod.tolist(), words
        sha.update(repr(told).encode())
        for network in (model.unet, model.vae, *(encoder.model for encoder in model.text.encoders)):
            for name, weight in sorted(network.state_dict().items()):
                sha.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                sha.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        _fingerprints[model.unet] = sha.hexdigest()
    return _fingerprints[model.unet]


def opener(dnp: Dnp, host, downloads: bool = False, keep: str = "unload") -> dns.Opener:
    """What opens the captioner that the settings name; ``downloads``, ``keep``: :func:`lib_negguide.captioners.opened`.

    "auto" is the small world's own for its model, and blip-base for others. Raises :class:`CaptionerError` before anything
    is sampled where it is not on this machine.
    """
    spec = dnp.captioner
    if spec == "auto" and host.model.name == Path(world.NAME).stem:
        try:
            spec = str(world.captioner())
        except ModelError as error:
            raise CaptionerError(str(error)) from None
    where = {"text": dnp.text, "device": str(host.model.device), "downloads": downloads}
    return dns.Opener(captioners.find(spec, **where).name, partial(captioners.opened, spec, keep=keep, **where))


def compare(host, result: Result, prompts, seeds, settings: Settings, clip, options) -> None:
    """Sample the pictures without their captions too, score both, and keep the better one if asked."""
    plain = host.sample_once(prompts, seeds, settings.copy(update={"dnp": None}), **options)
    result.plain, result.guided = plain.images, result.images
    result.compared = [plain.evaluations(number) for number in range(len(prompts))]
    pairs = zip(clip.scores(plain.pil(), prompts), clip.scores(result.pil(), prompts))
    result.scores = list(pairs)
    result.without = [False] * len(prompts)
    if settings.dnp.keep_better:
        result.without = [not guided.better_than(bare) for bare, guided in result.scores]
        keep = torch.tensor(result.without)[:, None, None, None]
        result.images = torch.where(keep, plain.images, result.images)


def paint(host, settings: Settings, **options) -> dns.Paint:
    """The sampler of figure 4 (:func:`lib_negguide.dns.four`). ``settings`` have a ``dnp``; ``options``: :meth:`EmbeddedHost.sample`."""

    def painted(prompts: Sequence[str], seeds: Sequence[int], captions: Sequence[str]) -> List[Any]:
        return pil(host.sample_once(prompts, seeds, settings, captions=captions, **options).images)

    return painted
