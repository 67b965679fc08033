"""Prompts in plain words: a host's prompt syntax taken out, for models that know none of it (CLIP); and a thing taken out."""

from __future__ import annotations

import re
from typing import Tuple

_NETWORK = re.compile(r"<[^<>]*>")
_AND = re.compile(r"\bAND\b")
_BREAK = re.compile(r"\bBREAK\b")
_PART = re.compile(r"^(.*?)(?::\s*([-+]?(?:\d+\.?\d*|\.\d+)))?\s*$", re.DOTALL)
_TOKEN = re.compile(r"\\.|[()\[\]|]|:|[^\\()\[\]|:]+|\\", re.DOTALL)
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*")

_OPENERS = r"(?:with|wearing|in|holding|carrying|having|has|featuring)\b"
_LINKS = re.compile(rf"(\s*,\s*and\s+|\s*,\s*|\s+and\s+|\s+(?={_OPENERS}))")
_OPENER = re.compile(rf"({_OPENERS}\s+)?(.*)", re.DOTALL)
_ARTICLE = r"(?:an?|the|some|many|two|three|his|her|their|its)\s+"


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


def without(prompt: str, words: str) -> str:
    """The prompt without a thing: "a person with glasses, a mustache and a hat" without "hat" is "a person with glasses and a mustache".

    Parts between commas, "and", and words such as "with" go if they name it, in singular or plural; of the first part only the
    words themselves. ``words``: one thing, or several between commas. A prompt that does not name it comes back as it is.
    """
    for thing in words.split(","):
        pattern = r"\W+".join(re.escape(re.sub(r"(?<=\w\w)e?s$", "", word)) + "(?:e?s)?" for word in re.findall(r"\w+", thing))
        if pattern and re.search(rf"\b{pattern}\b", prompt, re.IGNORECASE):
            shorter = _without(prompt, pattern)
            if any(shorter.count(a) != shorter.count(b) for a, b in ("()", "[]", "<>")):
                shorter = _without(plain(prompt), pattern)
            prompt = shorter
    return prompt


def beside(prompt: str, words: str) -> Tuple[str, bool]:
    """The prompt with a thing's words behind it, ``False``; of one that names the thing the prompt without them, ``True``.

    Of parts joined by AND it is the first one, without its weight.
    """
    first = _PART.match(_AND.split(prompt)[0]).group(1).strip() if _AND.search(prompt) else prompt
    bare = without(first, words)
    if bare != first:
        return bare, True
    return ", ".join(text for text in (first.rstrip(" ,"), words) if text), False


def _without(prompt: str, pattern: str) -> str:
    """See :func:`without`; ``pattern``: what matches the words."""
    first, *rest = _LINKS.split(prompt)
    parts = [["", "", re.sub(rf"\b(?:{_ARTICLE})?{pattern}\b", "", first, flags=re.IGNORECASE)]]
    opener = closed = ""
    for link, part in zip(rest[::2], rest[1::2]):
        own, text = _OPENER.match(part).groups()
        if re.search(rf"\b{pattern}\b", text, re.IGNORECASE):
            opener = own or opener
            closed = "and" in link and closed or link
            continue
        if opener and not own and ("and" in link or re.match(_ARTICLE, text, re.IGNORECASE)):
            link, own = " ", opener  # what follows in the list of "with"
        parts.append([link, own or "", text])
        opener = closed = ""
    if not parts[0][2].strip() and len(parts) > 1:
        parts[1][0] = ""
    if "and" in closed and not opener and len(parts) > 2 and "," in parts[-1][0] and not parts[-1][1]:
        parts[-1][0] = " and "  # the last of a list
    return _tidy("".join(link + own + text for link, own, text in parts))


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
