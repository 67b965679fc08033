"""What a run without a removal makes of each model call, kept for the run that keeps to it, and for the next such request."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Callable, List, Optional

import numpy as np
import torch
from PIL import Image

from lib_negguide.cache import digest, key_of
from lib_negguide.errors import HostError
from lib_negguide.hosts.a1111.identity import content, identity

MEGABYTES = 256.0
"""At most so much of them is kept. 30 calls of one 512x512 picture are 1 MB, of one 1024x1024 picture 4 MB."""

OF_THE_HIRES_PASS = ("hr_sampler_name", "hr_scheduler", "hr_second_pass_steps", "denoising_strength")


@dataclass(frozen=True)
class Kept:
    """One call: its noise level (units of sigma), the guided prediction (B, C, h, w) and, of CFG++ samplers, the unconditional one.

    On the CPU in half precision, whose three digits are below one level of 255; CFG++ samplers, in which the two predictions'
    errors do not cancel, need more.
    """

    sigma: float
    guided: torch.Tensor
    uncond: Optional[torch.Tensor] = None

    @classmethod
    def of(cls, sigma: float, guided: torch.Tensor, uncond: Optional[torch.Tensor]) -> Kept:
        dtype = torch.float16 if uncond is None else torch.float32
        return cls(sigma, *(None if part is None else part.detach().to("cpu", dtype, copy=True) for part in (guided, uncond)))

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (self.guided, self.uncond) if part is not None)


class Calls(List[Kept]):
    """What a run without its removal made of its calls, for one that makes the same ones."""

    def at(self, denoiser, sigma: float, _x: torch.Tensor) -> Kept:
        number = denoiser.step
        kept = self[number] if number < len(self) else None
        if kept is None or abs(kept.sigma - sigma) > 1e-3 * kept.sigma:
            raise HostError(f"NegGuide: the run without the removal had no such call as number {number + 1}, so the rest cannot be kept; "
                            "set remove.anchor to false")
        return kept


class Records:
    """Runs by what they depend on, the least recently used forgotten first."""

    def __init__(self, megabytes: float = MEGABYTES):
        self.megabytes = megabytes
        self._runs: OrderedDict[str, Calls] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Optional[str]) -> Optional[Calls]:
        with self._lock:
            if key not in self._runs:
                return None
            self._runs.move_to_end(key)
            return self._runs[key]

    def put(self, key: Optional[str], run: Calls) -> None:
        """``None`` for a key: nobody's."""
        if key is None:
            return
        with self._lock:
            self._runs[key] = run
            while self._runs and sum(one.bytes for kept in self._runs.values() for one in kept) > self.megabytes * 1e6:
                self._runs.popitem(last=False)


def key_of_pass(p, run, sample: Callable) -> Optional[str]:
    """All that a pass without its removal depends on: the very tensors that its sampler is given, and what else the host goes by.

    ``sample``: a partial call of the sampler's method. ``None`` where another extension is asked for something that
    cannot be told apart from something else.
    """
    batch = slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)
    prompts = [*p.all_prompts[batch], *(p.all_hr_prompts[batch] if p.is_hr_pass else ())]
    try:
        others = [[type(one).__module__, _told(p.script_args[one.args_from:one.args_to])] for one in _others(p)]
    except TypeError:
        return None
    inputs = hashlib.sha256()
    feed(inputs, [part for part in (*sample.args, *sample.keywords.values()) if part is not p])
    settings = run.settings.copy(update={"remove": None}).dict()
    captions = None if run.negatives is None else [negative.text for negative in run.negatives]
    second = {name: content(getattr(p, name, None)) for name in OF_THE_HIRES_PASS}
    return digest(key_of({
        "identity": identity(p, None, p.steps, (p.width, p.height), prompt=" ".join(prompts)), "hires": second if p.is_hr_pass else None,
        "inputs": inputs.hexdigest(), "settings": settings, "captions": captions, "negatives": list(run.current.box_texts),
        "seeds": [int(seed) for seed in p.seeds], "others": others,
        "subseeds": [int(seed) for seed in p.subseeds] if p.subseed_strength else None}))


def _others(p) -> List[Any]:
    """Scripts that are asked for something, but this extension's."""
    if p.scripts is None:
        return []
    number = int(p.script_args[0]) if p.script_args else 0
    chosen = [p.scripts.selectable_scripts[number - 1]] if number else []
    return [one for one in (*p.scripts.alwayson_scripts, *chosen) if one.title() != "NegGuide"]


def _told(value: Any) -> Any:
    """As JSON has it; raises :class:`TypeError` for objects that are not told by their content."""
    if isinstance(value, (list, tuple)):
        return [_told(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _told(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float, str, Image.Image, np.ndarray)):
        return content(value)
    raise TypeError(type(value).__name__)


def feed(to, value: Any) -> None:
    """Tensors, and texts and numbers, of whatever the host hands to a sampler or its model, into a hash."""
    if isinstance(value, torch.Tensor):
        to.update(f"{value.dtype}{tuple(value.shape)}".encode())
        to.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        feed(to, sorted(value.items()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            feed(to, part)
    elif value is None or isinstance(value, (bool, int, float, str)):
        to.update(repr(value).encode())
    else:
        feed(to, vars(value))
