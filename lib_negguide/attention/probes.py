"""Probes: forward hooks that keep the queries and keys which a running UNet computes anyway.

Cross-attention gives each place of the picture a share of each token, softmax(q k / sqrt(d)) over the tokens (Rombach et
al., 2112.10752, eq. in 3.3). Hooks on ``attn2.to_q`` and ``attn2.to_k`` cost no projection, do not depend on the attention
optimisation of the host, and change nothing; the shares are computed only of the rows that are looked at. The modules have
the same names in the original code's UNet and in diffusers' (:func:`lib_negguide.image_prompt.injection.cross_attention`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

import torch

from lib_negguide.errors import HostError
from lib_negguide.image_prompt.injection import cross_attention

FEWEST_PLACES = 64
"""A map of fewer places says little about where."""
MOST_LAYERS = 6
MOST_PLACES = 64 * 64
"""Maps of more places are not kept where every resolution is looked at."""
AT_ONCE = 1 << 23
"""Shares (float32) that are computed in one go; more layers together only while they are fewer."""

_NOTHING = ("NegGuide: there is no attention to look at: the model has not run on these rows, or another extension has replaced its "
            "attention layers")

_DOWN = re.compile(r"(?:down_blocks\.(\d+)\.downsamplers\.0|input_blocks\.(\d+)\.0\.op)\Z")
_UP = re.compile(r"(?:up_blocks\.(\d+)\.upsamplers\.0|output_blocks\.(\d+)\.\d+\.conv)\Z")
_BLOCK = re.compile(r"(?:(down_blocks|input_blocks)|(up_blocks|output_blocks))\.(\d+)\.")

Size = Tuple[int, int]
"""Height and width."""
Choice = Callable[[Dict[str, int], Size], Sequence[str]]
"""From {layer: factor by which its map is smaller than the latent} and the latent's size to the names of the layers to probe."""


def factors(unet: torch.nn.Module) -> Dict[str, int]:
    """How many times smaller than the latent the map of each cross-attention layer is, told by the names."""
    numbers: Dict[re.Pattern, List[int]] = {_DOWN: [], _UP: []}
    for name, _ in unet.named_modules():
        for pattern, found in numbers.items():
            match = pattern.match(name)
            if match:
                found.append(int(match[1] or match[2]))
    result = {}
    for name, _ in cross_attention(unet):
        block = _BLOCK.match(name)
        level = len(numbers[_DOWN])  # of the middle block
        if block is not None:
            passed = sum(number < int(block[3]) for number in numbers[_DOWN if block[1] else _UP])
            level = passed if block[1] else level - passed
        result[name] = 2 ** level
    return result


def middle(layers: Dict[str, int], size: Size) -> List[str]:
    """The layers of the smallest maps with at least 64 places, without the middle block; at most six, evenly spread.

    They are 16x16 for SD1.5 at 512 (the layers of Hertz et al., 2208.01626) and 32x32 for SDXL at 1024.
    """
    outer = {name: factor for name, factor in layers.items() if _BLOCK.match(name)} or layers
    enough = [factor for factor in outer.values() if _rows(size[0], factor) * _rows(size[1], factor) >= FEWEST_PLACES]
    factor = max(enough) if enough else min(outer.values())
    return spread([name for name, own in outer.items() if own == factor], MOST_LAYERS)


def is_decoder(name: str) -> bool:
    """Is a layer in the UNet's second half?"""
    block = _BLOCK.match(name)
    return block is not None and block[2] is not None


def every(layers: Dict[str, int], _size: Size) -> List[str]:
    """All layers, of all resolutions, the middle block's too."""
    return list(layers)


def each_resolution(layers: Dict[str, int], size: Size) -> List[str]:
    """Of every resolution with at most 4096 places at most six layers, evenly spread; the middle block's count as its own."""
    places = {factor: _rows(size[0], factor) * _rows(size[1], factor) for factor in sorted(set(layers.values()))}
    wanted = [factor for factor, count in places.items() if count <= MOST_PLACES] or [max(places)]
    return [name for factor in wanted for name in spread([name for name, own in layers.items() if own == factor], MOST_LAYERS)]


def spread(names: Sequence[str], most: int) -> List[str]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(names) <= most:
        return list(names)
    return [names[round(index * (len(names) - 1) / (most - 1))] for index in range(most)]


@dataclass(frozen=True)
class Layer:
    """What one layer attended to: ``weights`` (rows, heads, places, tokens), float32, sum over tokens 1; ``size``: of its map.

    ``layers``: how many layers of one kind it is, with the heads of one behind those of the other.
    """

    name: str
    size: Size
    weights: torch.Tensor
    layers: int = 1


@dataclass
class _Kept:
    """Of one forward: the numbers of the call's rows that are kept, and their queries and keys (rows, places or tokens, inner)."""

    rows: List[int]
    size: Size
    query: Optional[torch.Tensor] = None
    key: Optional[torch.Tensor] = None


class Probe:
    """Looks at a UNet's cross-attention while it is entered (``with Probe(unet) as probe``); the hooks go in any case.

    Before each model call the host's adapter says how many rows it has and which are wanted (:meth:`begin`). The host may
    then run the UNet on these rows in one forward or, in their order, in several. Afterwards :meth:`look` computes the shares
    of the rows that are really asked for. Without :meth:`begin`, or with no row wanted, nothing is kept.
    """

    def __init__(self, unet: torch.nn.Module, choose: Choice = middle):
        self.unet = unet
        self._choose = choose
        self._modules = dict(cross_attention(unet))
        self._factors = factors(unet)
        self._chosen: Dict[Size, Tuple[str, ...]] = {}
        self._waiting: List[Tuple[int, bool]] = []
        self._announced = False
        self._kept: Dict[str, List[_Kept]] = {}
        self._now: Dict[str, _Kept] = {}
        self._at: Optional[torch.Tensor] = None  # the wanted rows of the forward; None: all of them
        self._others: Dict[str, Tuple[torch.Tensor, torch.Tensor]] = {}
        self._hooked: Set[str] = set()
        self._handles: list = []

    def __enter__(self) -> Probe:
        if not self._modules:
            raise HostError("NegGuide: this model has no cross-attention layers that could be looked at")
        try:
            self._handles.append(self.unet.register_forward_pre_hook(self._forward_begins, with_kwargs=True))
            self._handles.append(self.unet.register_forward_hook(self._forward_ends, always_call=True))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._hooked.clear()
        self._others.clear()
        self.begin(())

    def begin(self, wanted: Sequence[bool]) -> None:
        """Which of all the rows of the next model call are kept, in their order; what was kept of the last call is dropped.

        With one wanted, a forward of more rows than are left raises :class:`HostError`, until another call begins.
        """
        self._announced = any(wanted)
        self._waiting = list(enumerate(wanted)) if self._announced else []
        self._kept, self._now = {}, {}

    def end(self) -> None:
        """The call is over: what the model is run on before the next :meth:`begin` is not kept, and may be of any size."""
        self._announced, self._waiting = False, []

    def rows(self) -> List[int]:
        """Numbers of the rows that the host has run so far and that were wanted."""
        return sorted(row for kept in next(iter(self._kept.values()), ()) for row in kept.rows)

    def tokens(self, row: int) -> int:
        """How many tokens this row attended to."""
        return self._part(next(iter(self._kept), ""), row)[0].key.shape[1]

    def look(self, rows: Optional[Sequence[int]] = None, context: Optional[torch.Tensor] = None) -> List[Layer]:
        """Of each probed layer the shares of these rows (default: all that are kept), which must have equally many tokens.

        ``context``: (1, T, C) of another text, whose tokens the same places attend to then.
        """
        rows = self.rows() if rows is None else list(rows)
        if not rows or not self._kept:
            raise HostError(_NOTHING)
        return [self._layer(name, rows, context) for name in self._kept]

    def together(self, asked: Sequence[Tuple[int, Optional[torch.Tensor]]]) -> List[List[Layer]]:
        """As :meth:`look` for each (row, context), but layers of one kind as one :class:`Layer`, in as few operations as can be."""
        if not self._kept:
            raise HostError(_NOTHING)
        kinds: Dict[tuple, List[str]] = {}
        for name, (kept, *_) in self._kept.items():
            self._check(name, kept)
            kinds.setdefault((kept.size, self._modules[name].heads, kept.query.shape[-1]), []).append(name)
        found: List[List[Layer]] = [[] for _ in asked]
        for (size, heads, _), names in kinds.items():
            keys = [[self._key_of(name, row, context) for name in names] for row, context in asked]
            queries = [[self._query_of(name, row) for name in names] for row, _ in asked]
            # All at once, where there are equally many tokens and it is not too much.
            alike = len({key.shape for own in keys for key in own}) == 1
            count = heads * size[0] * size[1] * keys[0][0].shape[0]
            whole = alike and len(asked) * len(names) * count <= AT_ONCE
            many = len(names) if whole else max(1, AT_ONCE // count)
            for at in range(0, len(names), many):
                part = names[at:at + many]
                query, key = ([one for own in all_of for one in own[at:at + many]] for all_of in (queries, keys))
                weights = [shares(torch.stack(query), torch.stack(key), heads)] if whole else [
                    shares(torch.stack(own[at:at + many]), torch.stack(other[at:at + many]), heads) for own, other in zip(queries, keys)]
                flat = weights[0].unflatten(0, (len(asked), -1)) if whole else weights
                for layers, one in zip(found, flat):
                    layers.append(Layer(part[0], size, one.flatten(0, 1)[None], len(part)))
        return found

    def _query_of(self, name: str, row: int) -> torch.Tensor:
        kept, at = self._part(name, row)
        return kept.query[at]

    def _key_of(self, name: str, row: int, context: Optional[torch.Tensor]) -> torch.Tensor:
        if context is not None:
            return self._key(name, context)[0]
        kept, at = self._part(name, row)
        return kept.key[at]

    def _layer(self, name: str, rows: List[int], context: Optional[torch.Tensor]) -> Layer:
        parts = self._kept[name]
        if len(parts) == 1 and parts[0].rows == rows:
            self._check(name, parts[0])
            size, query, key = parts[0].size, parts[0].query, parts[0].key
        else:
            found = [self._part(name, row) for row in rows]
            size = found[0][0].size
            query = torch.stack([kept.query[at] for kept, at in found])
            key = torch.stack([kept.key[at] for kept, at in found]) if context is None else None
        if context is not None:
            key = self._key(name, context).to(query.device).expand(len(rows), -1, -1)
        return Layer(name, size, shares(query, key, self._modules[name].heads))

    @torch.no_grad()
    def _key(self, name: str, context: torch.Tensor) -> torch.Tensor:
        """A layer's keys (1, tokens, inner) of another text; made once while the text is the same object."""
        known = self._others.get(name)
        if known is None or known[0] is not context:
            to_k = self._modules[name].to_k
            weight = next(to_k.parameters())
            known = self._others[name] = (context, to_k(context.to(weight.device, weight.dtype)))
        return known[1]

    def _part(self, name: str, row: int) -> Tuple[_Kept, int]:
        for kept in self._kept.get(name, ()):
            if row in kept.rows:
                self._check(name, kept)
                return kept, kept.rows.index(row)
        raise HostError(f"NegGuide: the model has not run on row {row} of this call")

    @staticmethod
    def _check(name: str, kept: _Kept) -> None:
        for part, places in ((kept.query, kept.size[0] * kept.size[1]), (kept.key, None)):
            if part is None or len(part) != len(kept.rows) or places not in (None, part.shape[1]):
                raise HostError(f"NegGuide: another extension has changed the attention of {name}, so it cannot be looked at")

    # Hooks. ``_now`` is empty, and the hooks of the layers return at once, outside a forward with wanted rows.

    def _forward_begins(self, _module, args, kwargs) -> None:
        self._now = {}
        if not self._announced:
            return
        x = args[0] if args else kwargs["sample"] if "sample" in kwargs else kwargs["x"]
        if len(x) > len(self._waiting):
            raise HostError(f"NegGuide: the host runs the model on {len(x)} rows where {len(self._waiting)} were announced; "
                            "another extension splits pictures or batches in a way that attention cannot be looked at")
        rows, self._waiting = self._waiting[:len(x)], self._waiting[len(x):]
        wanted = [at for at, (_, keep) in enumerate(rows) if keep]
        if not wanted:
            return
        self._at = None if len(wanted) == len(rows) else torch.tensor(wanted, device=x.device)
        size = tuple(x.shape[-2:])
        if size not in self._chosen:
            self._chosen[size] = tuple(self._choose(self._factors, size))
        numbers = [number for number, keep in rows if keep]
        for name in self._chosen[size]:
            self._hook(name)
            kept = _Kept(numbers, tuple(_rows(side, self._factors[name]) for side in size))
            self._kept.setdefault(name, []).append(kept)
            self._now[name] = kept

    def _hook(self, name: str) -> None:
        """Only layers that are looked at have hooks."""
        if name not in self._hooked:
            self._hooked.add(name)
            for module, part in ((self._modules[name].to_q, "query"), (self._modules[name].to_k, "key")):
                self._handles.append(module.register_forward_hook(self._keep(name, part)))

    def _forward_ends(self, *_) -> None:
        self._now = {}

    def _keep(self, name: str, part: str):
        def hook(_module, _args, output) -> None:
            kept = self._now.get(name)
            if kept is not None:
                setattr(kept, part, output if self._at is None else output[self._at])
        return hook


def shares(query: torch.Tensor, key: torch.Tensor, heads: int) -> torch.Tensor:
    """softmax(q k / sqrt(d)) over all tokens: (rows, places, inner), (rows, tokens, inner) to (rows, heads, places, tokens), float32."""
    q, k = (part.detach().float().unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key))
    return (q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)).softmax(-1)


def _rows(pixels: int, factor: int) -> int:
    return -(-pixels // factor)
