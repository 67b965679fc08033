"""Image tokens in a running UNet: hooks on its cross-attention that leave the host's own forwards alone.

IP-Adapter (Ye et al., 2308.06721, eq. 4): behind the text's attention each layer adds w softmax(q k_ip) v_ip, with the
layer's own query q, before its output projection. Here a hook on ``to_q`` keeps the query that the layer computes
anyway, and a hook in front of the first module of ``to_out`` adds to what comes in. So it does not matter by which
attention optimisation the host computes the rest, biases, dropout and LoRAs of the projections act as ever, and
the sum is formed where diffusers forms it.

The modules are those that every host has: ``attn2`` with ``to_q``, ``to_k``, ``to_v``, ``to_out[0]`` and ``heads``, in
the original code's UNet (input_blocks, middle_block, output_blocks) and in diffusers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Set, Tuple

import torch
import torch.nn.functional as F

from lib_negguide.errors import HostError, ModelError
from lib_negguide.image_prompt.checkpoints import MODELS, Adapter

_ORDER = ("down_blocks.", "input_blocks.", "up_blocks.", "output_blocks.", "mid_block.", "middle_block.")


@dataclass(eq=False)
class ImageTokens:
    """One picture's keys and values, (T, inner) for each layer; told from others by identity."""

    layers: List[Tuple[torch.Tensor, torch.Tensor]]
    name: str = ""


Row = Sequence[Tuple[ImageTokens, float]]
"""The pictures of one row of the UNet's batch, each with its weight. They are summed, as diffusers sums several adapters."""


def cross_attention(unet: torch.nn.Module) -> List[Tuple[str, torch.nn.Module]]:
    """(name, attn2 module) in the order of IP-Adapter's numbers: input blocks, output blocks, middle block."""
    found = [(name, module) for name, module in unet.named_modules() if name.split(".")[-1] == "attn2"]

    def place(entry) -> int:
        return next((index for index, start in enumerate(_ORDER) if start in entry[0] + "."), len(_ORDER))

    return sorted(found, key=place)


def check(adapter: Adapter, unet: torch.nn.Module) -> None:
    """Raises :class:`ModelError` unless the adapter is made for this UNet."""
    layers = [module for _, module in cross_attention(unet)]
    wanted = [(layer.to_k.out_features, layer.to_k.in_features) for layer in layers]
    if [tuple(k.shape) for k, _ in adapter.layers] == wanted:
        return
    width = wanted[0][1] if wanted else 0
    known = MODELS.get(width)
    shape = f"cross-attention width {width}, {len(wanted)} layers"
    raise ModelError(f"NegGuide: {adapter.name} is made for {adapter.model}; the loaded model is "
                     + (f"{known} ({shape})" if known else f"one of {shape}")
                     + ("" if (width, len(wanted)) != (adapter.width, len(adapter.layers)) else ", with layers of other sizes"))


def image_tokens(adapter: Adapter, tokens: torch.Tensor, name: str = "") -> ImageTokens:
    """Keys and values of tokens (T, C) in every layer, in float32, where the tokens are."""
    layers = [tuple(F.linear(tokens, part.to(tokens)) for part in pair) for pair in adapter.layers]
    return ImageTokens(layers, name)


@dataclass
class _Slot:
    """Pictures of a call that are computed together, at most one a row: K and V are stacked over ``rows``."""

    rows: Optional[torch.Tensor]
    """Indices into the batch; ``None`` = every row."""
    pictures: Tuple[ImageTokens, ...]
    weight: torch.Tensor | float
    """One for all, or (rows, 1, 1)."""


@dataclass
class _Layer:
    module: torch.nn.Module
    query: Optional[torch.Tensor] = None


class Injection:
    """Puts image tokens into a UNet while it is entered (``with Injection(unet) as injection``); the hooks go in any case.

    Before each model call the host's adapter says which pictures which rows have: :meth:`begin`. The host may
    then run the UNet on these rows in one forward or, in their order, in several.
    """

    def __init__(self, unet: torch.nn.Module):
        self.unet = unet
        self.fired: Set[str] = set()
        """Names of the layers in which something was added so far."""
        self._layers = {name: _Layer(module) for name, module in cross_attention(unet)}
        self._waiting: List[Row] = []
        self._announced = False
        self._slots: List[_Slot] = []
        self._count = 0
        self._stacked: Dict[tuple, Tuple[torch.Tensor, torch.Tensor]] = {}
        self._handles: list = []

    def __enter__(self) -> Injection:
        if not self._layers:
            raise HostError("NegGuide: this model has no cross-attention layers that pictures could act in")
        try:
            self._hook(self.unet, "pre", self._forward_begins)
            for index, (name, layer) in enumerate(self._layers.items()):
                self._hook(layer.module.to_q, "post", self._keep_query(layer))
                self._hook(layer.module.to_out[0], "pre", self._add(index, name, layer))
            self._hook(self.unet, "post", self._forward_ends)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._stacked.clear()
        self.begin(())

    def begin(self, rows: Sequence[Row]) -> None:
        """Pictures of all the rows of the next model call, in their order; weights 0 count as absent.

        Without any picture the UNet computes what it does without hooks, to the bit. With some, a forward
        of more rows than are left raises :class:`HostError`, until another call begins.
        """
        rows = [[(tokens, weight) for tokens, weight in row if weight] for row in rows]
        self._announced = any(rows)
        self._waiting = rows if self._announced else []
        self._slots, self._count = [], 0
        for layer in self._layers.values():
            layer.query = None

    @property
    def idle(self) -> bool:
        """Is there nothing to add in the next forward?"""
        return not self._waiting

    # Hooks. ``_slots`` is empty, and the hooks of the layers return at once, outside a forward that has pictures.

    def _hook(self, module: torch.nn.Module, when: str, function) -> None:
        if when == "post":
            self._handles.append(module.register_forward_hook(function))
        else:
            with_names = module is self.unet
            self._handles.append(module.register_forward_pre_hook(function, with_kwargs=with_names))

    def _forward_begins(self, _module, args, kwargs) -> None:
        self._slots = []
        if not self._announced:
            return
        x = args[0] if args else kwargs["sample"] if "sample" in kwargs else kwargs["x"]
        self._count = len(x)
        if self._count > len(self._waiting):
            raise HostError(f"NegGuide: the host runs the model on {self._count} rows where {len(self._waiting)} were announced; "
                            "another extension splits pictures or batches in a way that image prompts cannot follow")
        rows, self._waiting = self._waiting[:self._count], self._waiting[self._count:]
        self._slots = _slots(rows, x.device)

    def _forward_ends(self, _module, _args, _output) -> None:
        if self._slots and not self.fired:
            raise HostError("NegGuide: image prompts did not reach the model: another extension has replaced its attention layers")
        self._slots = []

    def _keep_query(self, layer: _Layer):
        def hook(_module, _args, output) -> None:
            if self._slots:
                layer.query = output
        return hook

    def _add(self, index: int, name: str, layer: _Layer):
        def hook(_module, args):
            if not self._slots:
                return None
            query, layer.query = layer.query, None
            if query is None or len(query) != self._count or len(args[0]) != self._count:
                raise HostError(f"NegGuide: another extension has changed the attention of {name}, so image prompts cannot act there")
            self.fired.add(name)
            out = args[0]
            for slot in self._slots:
                out = self._added(out, query, slot, index, layer.module.heads)
            return (out, *args[1:])
        return hook

    def _added(self, out: torch.Tensor, query: torch.Tensor, slot: _Slot, index: int, heads: int) -> torch.Tensor:
        """``out`` (B, N, inner) plus the slot's weighted attention; ``query`` (B, N, inner)."""
        q = query if slot.rows is None else query[slot.rows]
        k, v = self._keys_values(slot.pictures, index, heads, q)
        attended = F.scaled_dot_product_attention(q.unflatten(-1, (heads, -1)).transpose(1, 2), k, v)
        added = (slot.weight * attended.transpose(1, 2).flatten(2)).to(out.dtype)
        return out + added if slot.rows is None else out.index_add(0, slot.rows, added)

    def _keys_values(self, pictures: Tuple[ImageTokens, ...], index: int, heads: int, like: torch.Tensor):
        """K and V (rows, heads, T, head) of a layer, made once for each constellation of pictures."""
        key = (pictures, index, like.dtype, like.device)
        if key not in self._stacked:
            k, v = (torch.stack([picture.layers[index][part] for picture in pictures]) for part in (0, 1))
            self._stacked[key] = tuple(t.to(like).unflatten(-1, (heads, -1)).transpose(1, 2).contiguous() for t in (k, v))
        return self._stacked[key]


def _slots(rows: Sequence[Row], device) -> List[_Slot]:
    """The n-th pictures of all rows together, for each n."""
    slots = []
    for number in range(max(map(len, rows), default=0)):
        having = [index for index, row in enumerate(rows) if len(row) > number]
        pictures = tuple(rows[index][number][0] for index in having)
        weights = [rows[index][number][1] for index in having]
        weight = weights[0] if len(set(weights)) == 1 else torch.tensor(weights, device=device)[:, None, None]
        every = len(having) == len(rows)
        slots.append(_Slot(None if every else torch.tensor(having, device=device), pictures, weight))
    return slots
