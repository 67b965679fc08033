"""What a prompt asks for in plain words: a host's prompt syntax taken out, for models that know none of it (CLIP)."""

from __future__ import annotations

import re

_NETWORK = re.compile(r"<[^<>]*>")
_AND = re.compile(r"\bAND\b")
_BREAK = re.compile(r"\bBREAK\b")
_PART = re.compile(r"^(.*?)(?::\s*([-+]?(?:\d+\.?\d*|\.\d+)))?\s*$", re.DOTALL)
_TOKEN = re.compile(r"\\.|[()\[\]|]|:|[^\\()\[\]|:]+|\\", re.DOTALL)
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*")


def plain(prompt: str) -> str:
    """The prompt without emphasis, weights, escapes, ``<lora:…>``, BREAK and editing, on one line.

    ``a AND b`` becomes ``a and b``, and a part with a negative weight goes. Of ``[from:to:when]`` stays ``to``, where the
    picture ends; of ``[a|b]`` both words.
    """
    parts = []
    for part in _AND.split(_NETWORK.sub(" ", prompt)):
        text, weight = _PART.match(part).groups()
        if weight is None or float(weight) > 0:
            parts.append(_tidy(_read(_TOKEN.findall(_BREAK.sub(" ", text)), 0, None)[0]))
    return " and ".join(part for part in parts if part)


def _read(tokens, at, closing):
    """Text from token ``at`` to ``closing`` (or the end), and the place behind it."""
    fields = [""]
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token == closing:
            return _chosen(fields, closing), at
        if token in ("(", "["):
            inner, at = _read(tokens, at, ")" if token == "(" else "]")
            fields[-1] += inner
        elif token in (")", "]"):
            continue  # closes nothing: the host drops it too
        elif token == "|" and closing == "]":
            fields[-1] += " "
        elif token == ":" and closing:
            fields.append("")
        else:
            fields[-1] += token[1:] if token.startswith("\\") and len(token) == 2 else token
    return ":".join(fields), at


def _chosen(fields, closing):
    """What a bracket's content, split at colons, says: its text without weight, or the last of an edited text."""
    if len(fields) > 1 and _NUMBER.fullmatch(fields[-1]):
        if closing == ")":
            return ":".join(fields[:-1])
        texts = fields[:-1]  # [to:when], [from:to:when], [from::when]
        return "" if len(texts) > 1 and not texts[-1].strip() else texts[-1]
    return ":".join(fields)


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s+([,.;])", r"\1", text)
    return re.sub(r"(?:,\s*)+(?=,)", "", text).strip(" ,")
