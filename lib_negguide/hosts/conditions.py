"""Text conditions as A1111 hands them around: schedules, chunks, SDXL's dictionaries, ControlNet's mark.

A *condition* is a tensor (B, T, C), or SDXL's dictionary of ``crossattn`` (B, T, C) and
``vector`` (B, V). A *schedule* is one picture's list of entries with ``end_at_step``
and ``cond``, a condition without B. Nothing here imports the host.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.errors import HostError
from lib_negguide.formulas import mix, repeat

CHUNK = 77
"""Tokens of one chunk of a text encoder; longer prompts have several."""

TOKENS = "crossattn"
"""The key of a dictionary's token embeddings; all other keys are per picture, without tokens."""


def entry_at(schedule: Sequence[Any], step: int) -> Any:
    """The condition of one picture at a model call: the first entry that has not ended, as the host chooses it."""
    for entry in schedule:
        if step <= entry.end_at_step:
            return entry.cond
    return schedule[0].cond


def tokens_of(condition: Any) -> torch.Tensor:
    """The token embeddings, (B, T, C) or (T, C), of a tensor or a dictionary."""
    return condition[TOKENS] if isinstance(condition, dict) else condition


def at_step(schedules: Sequence[Any], step: int) -> Any:
    """A fresh condition of all pictures at a call; of pictures with unequal token counts the shorter ones are repeated."""
    parts = [entry_at(schedule, step) for schedule in schedules]
    length = math.lcm(*(tokens_of(part).shape[0] for part in parts))

    def tokens(part: Any) -> torch.Tensor:
        return repeat(tokens_of(part)[None], length)

    if isinstance(parts[0], dict):
        rest = {key: torch.stack([part[key] for part in parts]) for key in parts[0] if key != TOKENS}
        return {TOKENS: torch.cat([tokens(part) for part in parts]), **rest}
    return torch.cat([tokens(part) for part in parts])


def weighted(parts: Sequence[Tuple[Any, float]]) -> Any:
    """sum_i a_i E_i over conditions of one kind; raises :class:`HostError` where they do not fit together."""
    first = parts[0][0]
    counts = {tokens_of(part).shape[1] for part, _ in parts}
    if len(counts) > 1 and any(count % CHUNK for count in counts):
        raise HostError(f"NegGuide: negative prompts of {' and '.join(map(str, sorted(counts)))} tokens cannot be mixed; "
                        f"another extension has changed the host's, which has chunks of {CHUNK}")
    if isinstance(first, dict):
        return {key: mix([(part[key], a) for part, a in parts]) for key in first}
    return mix(parts)


def split_mark(condition: Any) -> Tuple[Any, Optional[torch.Tensor]]:
    """(condition, mark): ControlNet puts one token (B, 1, C) in front to tell conditions apart; ``None`` without it."""
    tokens = tokens_of(condition)
    if tokens.shape[1] % CHUNK != 1:
        return condition, None
    bare = tokens[:, 1:]
    return (dict(condition, **{TOKENS: bare}) if isinstance(condition, dict) else bare), tokens[:, :1]


def marked(condition: Any, mark: Optional[torch.Tensor], like: Any) -> Any:
    """A new object of the type of ``like`` with ControlNet's mark in front, where there is one."""
    tokens = tokens_of(condition)
    if mark is not None:
        tokens = torch.cat([mark.to(tokens), tokens], dim=1)
    if not isinstance(like, dict):
        return tokens
    whole: Dict[str, torch.Tensor] = dict(condition, **{TOKENS: tokens})
    return type(like)(whole)


def levelled(schedules: Sequence[Any]) -> Optional[List[Any]]:
    """Schedules whose pictures all have one token count, by repetition; ``None`` when they already have.

    The originals, which the host keeps in a cache, stay as they are.
    """
    counts = {tokens_of(entry.cond).shape[0] for schedule in schedules for entry in schedule}
    if len(counts) == 1:
        return None
    length = math.lcm(*counts)

    def longer(cond: Any) -> Any:
        tokens = repeat(tokens_of(cond)[None], length)[0]
        return dict(cond, **{TOKENS: tokens}) if isinstance(cond, dict) else tokens

    return [[entry._replace(cond=longer(entry.cond)) for entry in schedule] for schedule in schedules]


def check_rows(schedules: Sequence[Any], host: Any) -> None:
    """Raises :class:`HostError` unless there is one schedule for every picture of the host's condition."""
    rows = tokens_of(host).shape[0]
    if len(schedules) != rows:
        raise HostError(f"NegGuide: the host samples {rows} pictures but names {len(schedules)} negative prompts")


def first_rows(parts: Sequence[Sequence[Any]]) -> List[int]:
    """Among the rows of all prompts' parts (several with AND), the number of each picture's first."""
    return [sum(len(before) for before in parts[:picture]) for picture in range(len(parts))]


def delta_weights(weights: Sequence[float]) -> List[float]:
    """a_i with sum_i w_i a_i = 1: how much of a change of guidance each part of an AND prompt gets.

    Guidance is u + s sum_i w_i (p_i - u), so adding a_i d to every p_i adds s d. All
    weights 0 leave no way in: all a_i are 0.
    """
    square = sum(weight * weight for weight in weights)
    return [weight / square if square else 0.0 for weight in weights]

