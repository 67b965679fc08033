"""DNS, DNP and auto-DNP: the model shows its own negative. Host-free: takes a sampler function and a captioner.

Desai and Vasconcelos, *Improving image synthesis with diffusion-negative sampling*, ECCV 2024. A host samples a
diffusion-negative picture by eq. 19 (``settings.Dns``), a captioner says what it shows, and the caption n* is
the negative of a second sampling with the same prompt and seed.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from lib_negguide.cache import Pictures, key_of
from lib_negguide.captioners import Captioner, How, join, safe
from lib_negguide.errors import HostError, NegGuideError, SettingsError
from lib_negguide.settings import Dnp

NEIGHBOURS = 65536
"""Seeds so near to a picture's own are left to the other pictures of its batch."""


class Interrupted(NegGuideError):
    """The sampling of negative pictures ended before all were there (the user's interrupt or skip); nothing was kept."""

    def __init__(self):
        super().__init__("NegGuide: interrupted while the negative pictures were made")


@dataclass(frozen=True)
class Wanted:
    """One diffusion-negative picture. ``subseed``: of a host that mixes the noise of two seeds, else ``None``."""

    prompt: str
    seed: int
    subseed: Optional[int] = None


@dataclass
class Shown:
    """A diffusion-negative picture (Pillow) and what it shows.

    ``caption`` is safe for a prompt parser, ``raw`` as the captioner said it, ``captioner`` its name; ``cached``:
    the picture was not sampled this time; ``score``: its likeness to the prompt, where that was asked for.
    """

    wanted: Wanted
    image: Any
    caption: str
    raw: str
    captioner: str = ""
    cached: bool = False
    score: Optional[float] = None


@dataclass
class Negative:
    """What one picture of the batch moves away from: the text n*, and where it came from."""

    text: str
    shown: List[Shown] = field(default_factory=list)


Sample = Callable[[Sequence[Wanted]], Optional[Sequence[Any]]]
"""Gives one Pillow image for each wanted picture; fewer, or ``None``, when it was interrupted."""


@dataclass(frozen=True)
class Opener:
    """Opens a captioner for a ``with`` block, e.g. by ``functools.partial(captioners.opened, "blip-base")``.

    ``name``: the captioner's, known before it is opened ("" if not), so that cached captions spare opening it.
    """

    name: str
    open: Callable[[], AbstractContextManager]

    def __call__(self) -> AbstractContextManager:
        return self.open()


Score = Callable[[Sequence[Any], Sequence[str]], Sequence[float]]
"""How like each picture is to its text, e.g. the cosine of their CLIP embeddings."""


def seeds_of(seed: int, samples: int) -> List[int]:
    """``samples`` seeds: first the picture's own, then others that follow from it and are none of its neighbours'.

    A batch counts its seeds upwards, so seeds near the own one would show what another picture is about to
    show. The others are 32-bit numbers from a hash: the same on every host, and the first ones of a larger count.
    """
    seeds, number = [int(seed)], 0
    while len(seeds) < samples:
        number += 1
        drawn = int.from_bytes(hashlib.sha256(f"diffusion-negative {int(seed)} {number}".encode()).digest()[:4], "big")
        if abs(drawn - seeds[0]) > NEIGHBOURS and drawn not in seeds:
            seeds.append(drawn)
    return seeds


def steps_of(dnp: Dnp, steps: int) -> int:
    """Steps of the negative picture: the share of the run's, at least 1."""
    return max(1, round(dnp.steps * steps))


def size_of(dnp: Dnp, size: Tuple[int, int]) -> Tuple[int, int]:
    """Width and height of the negative picture in pixels: the share of the run's, in multiples of 8.

    At least 16, and at least 64 in a run of 128 and more: below that Stable Diffusion shows nothing. Never more than the run's.
    """

    def side(full: int) -> int:
        least = 64 if full >= 128 else 16
        return min(full, max(least, 8 * round(dnp.size * full / 8)))

    return side(size[0]), side(size[1])


def negatives(
    dnp: Dnp,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sample: Sample,
    captioner: Union[Captioner, Callable[[], AbstractContextManager]],
    *,
    cache: Optional[Pictures] = None,
    identity: Optional[Mapping[str, Any]] = None,
    score: Optional[Score] = None,
    name: str = "",
    subseeds: Optional[Sequence[int]] = None,
) -> List[Negative]:
    """The negative of each picture of a batch, from the captions of its own diffusion-negative pictures.

    ``sample`` is called once with all the pictures that ``cache`` lacks, each pair of prompt and seed once, and not
    at all for the captioner "text". ``captioner`` is one, or opens one: only when a caption is missing, and
    closed again (:class:`Opener`; ``name`` is that of an opener that has none). ``identity``: everything else that the
    pictures depend on (model, LoRAs, sampler, steps, size, scale …), for the cache. ``score``: needed for several="best".

    Raises :class:`Interrupted` when ``sample`` gives fewer pictures than wanted, and then keeps none of them;
    :class:`SettingsError` where ``score`` is needed and not there.
    """
    if len(prompts) != len(seeds):
        raise SettingsError("seeds", len(seeds), f"as many as prompts ({len(prompts)})")
    if dnp.captioner == "text":
        return [Negative(dnp.text.strip()) for _ in prompts]
    if dnp.several == "best" and dnp.samples > 1 and score is None:
        raise SettingsError("dnp.several", dnp.several, "join; best compares the pictures by CLIP, which is not there")
    if cache is not None and identity is None:
        raise ValueError("a cache needs the identity of the pictures")

    others = subseeds or [None] * len(prompts)
    wanted = [[Wanted(prompt, s, other) for s in seeds_of(seed, dnp.samples)] for prompt, seed, other in zip(prompts, seeds, others)]
    once = list(dict.fromkeys(one for many in wanted for one in many))
    keys = {one: key_of({**identity, "picture": asdict(one)}) for one in once} if cache is not None else {}
    shown = _sampled(once, sample, cache, keys)
    _captioned(dnp, shown, captioner, cache, keys, name)
    if dnp.several == "best" and dnp.samples > 1:
        for entry, value in zip(shown.values(), score([entry.image for entry in shown.values()], [one.prompt for one in once])):
            entry.score = float(value)
    return [_chosen(dnp, [shown[one] for one in many]) for many in wanted]


def _sampled(once: Sequence[Wanted], sample: Sample, cache: Optional[Pictures], keys: Mapping[Wanted, str]) -> Dict[Wanted, Shown]:
    """The pictures, without captions; those that were sampled now are in the cache only if all of them are there."""
    images = {one: cache.get(keys[one]) for one in once} if cache is not None else dict.fromkeys(once)
    missing = [one for one in once if images[one] is None]
    sampled = set(missing)
    if missing:
        made = sample(missing)
        if made is None or len(made) < len(missing):
            raise Interrupted()
        images.update(zip(missing, made))
        if cache is not None:
            for one in missing:
                cache.put(keys[one], images[one])
    return {one: Shown(one, images[one], "", "", cached=one not in sampled) for one in once}


def _captioned(dnp: Dnp, shown: Mapping[Wanted, Shown], captioner, cache, keys, name: str) -> None:
    """Fill in the captions: from the cache, else by the captioner, which is asked once for all that are missing."""
    how = How(dnp.beams, dnp.min_tokens, dnp.max_tokens)
    ready = hasattr(captioner, "caption")
    name = captioner.name if ready else name or getattr(captioner, "name", "")
    said: Dict[Wanted, str] = {}
    if cache is not None and name:
        said = {one: cache.caption(keys[one], _by(name, how)) for one in shown}
        said = {one: caption for one, caption in said.items() if caption is not None}
    missing = [one for one in shown if one not in said]
    if missing:
        with nullcontext(captioner) if ready else captioner() as opened:
            spoken = opened.caption([shown[one].image for one in missing], how)
            name = opened.name
        if len(spoken) != len(missing):
            raise HostError(f"NegGuide: the captioner {name} gave {len(spoken)} captions of {len(missing)} pictures")
        for one, caption in zip(missing, spoken):
            said[one] = caption
            if cache is not None:
                cache.add_caption(keys[one], _by(name, how), caption)
    for one, entry in shown.items():
        entry.raw, entry.caption, entry.captioner = said[one], safe(said[one]), name


def _by(name: str, how: How) -> str:
    """Whose caption it is, for the cache: the captioner and how it was asked."""
    return key_of({"captioner": name, "how": asdict(how)})


def _chosen(dnp: Dnp, shown: List[Shown]) -> Negative:
    """One text of several captions: all of them, or that of the picture least like the prompt."""
    if dnp.several == "best" and len(shown) > 1:
        return Negative(min(shown, key=lambda entry: entry.score).caption, shown)
    return Negative(join([entry.caption for entry in shown]), shown)


@dataclass
class Four:
    """The pictures of figure 4 for one prompt and seed, and the text n*."""

    plain: Any
    negative: Negative
    only: Any
    guided: Any

    def titled(self, prompt: str) -> List[Tuple[str, Any]]:
        """(what it was made from, picture), in the figure's order."""
        n = self.negative.text
        first = [("DNS: " + entry.caption, entry.image) for entry in self.negative.shown]
        return [(prompt, self.plain), *first, (f'"" without {n}', self.only), (f"{prompt} without {n}", self.guided)]


Paint = Callable[[Sequence[str], Sequence[int], Sequence[str]], Sequence[Any]]
"""(prompts, seeds, captions) to pictures: an ordinary sampling with each caption as a negative ("" for none)."""


def four(prompts: Sequence[str], seeds: Sequence[int], found: Sequence[Negative], paint: Paint, *,
         plain: Optional[Sequence[Any]] = None, guided: Optional[Sequence[Any]] = None) -> List[Four]:
    """Figure 4 of the paper: the picture of p; the DNS picture with its caption n*; of ("", n*); of (p, n*); all with the same seed.

    ``found``: from :func:`negatives`, which has made the DNS pictures. ``plain``, ``guided``: where they are there already.
    """
    captions = [negative.text for negative in found]
    plain = plain or paint(prompts, seeds, [""] * len(prompts))
    only = paint([""] * len(prompts), seeds, captions)
    guided = guided or paint(prompts, seeds, captions)
    return [Four(*parts) for parts in zip(plain, found, only, guided)]
