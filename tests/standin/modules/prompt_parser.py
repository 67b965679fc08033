"""Prompt syntax: editing ``[a:b:0.5]``, alternation ``[a|b]``, ``AND``; and the conditions' schedules."""

import re
from collections import namedtuple

import torch

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])


class SdConditioning(list):
    """Prompts with what the text encoder has to know beside them."""

    def __init__(self, prompts, is_negative_prompt=False, width=None, height=None, copy_from=None):
        super().__init__(prompts)
        source = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(source, "is_negative_prompt", False)
        self.width = width or getattr(source, "width", None)
        self.height = height or getattr(source, "height", None)


class DictWithShape(dict):
    def __init__(self, x, shape=None):
        super().__init__(x)

    @property
    def shape(self):
        return self["crossattn"].shape


# -- editing over the steps: a prompt is a list of text, Edit and Turns -------------------------------------

Edit = namedtuple("Edit", ["before", "after", "number"])
Turns = namedtuple("Turns", ["options"])
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)\s*")


def _parse(text, position=0, inside=False):
    """Returns (nodes, position after, parts): parts are the ':' or '|' separated pieces of a bracket, None without its end."""
    nodes, parts, marks = [], [], []
    while position < len(text):
        letter = text[position]
        if letter == "\\" and position + 1 < len(text):
            nodes.append(text[position:position + 2])
            position += 2
        elif letter == "[":
            inner, after, closed = _parse(text, position + 1, True)
            nodes += inner if closed else ["["]
            position = after if closed else position + 1
        elif letter == "(":
            depth, end = 0, position
            while end < len(text):  # a group is opaque to the bracket around it: its ':' is a weight
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
                if depth == 0:
                    break
            if depth:
                nodes.append("(")
                position += 1
            else:
                inner, _, _ = _parse(text[position + 1:end - 1])
                nodes += ["(", *inner, ")"]
                position = end
        elif inside and letter == "]":
            parts.append(nodes)
            return _bracket(parts, marks), position + 1, True
        elif inside and letter in ":|":
            parts.append(nodes)
            marks.append(letter)
            nodes = []
            position += 1
        else:
            nodes.append(letter)
            position += 1
    return nodes, position, False


def _bracket(parts, marks):
    last = "".join(part for part in parts[-1] if isinstance(part, str))
    if marks and set(marks) == {"|"}:
        return [Turns(parts)]
    if marks and set(marks) == {":"} and len(parts) in (2, 3) and _NUMBER.fullmatch(last):
        return [Edit(parts[0] if len(parts) == 3 else [], parts[-2], last.strip())]
    plain = ["["]
    for part, mark in zip(parts, [*marks, "]"]):
        plain += [*part, mark]
    return plain


def _step(number, steps, base_steps, hires):
    """A switch's step: with a point a fraction of the pass (a hires pass counts from 1.0), else a number of steps."""
    value = (float(number) - hires) * steps if "." in number else float(number) - hires * base_steps
    return min(steps, int(value))


def _walk(nodes, steps, when, found):
    for node in nodes:
        if isinstance(node, Edit):
            found.add(when(node.number))
            _walk(node.before, steps, when, found)
            _walk(node.after, steps, when, found)
        elif isinstance(node, Turns):
            found.update(range(1, steps + 1))
            for option in node.options:
                _walk(option, steps, when, found)


def _at(nodes, step, when):
    text = ""
    for node in nodes:
        if isinstance(node, Edit):
            text += _at(node.before if step <= when(node.number) else node.after, step, when)
        elif isinstance(node, Turns):
            text += _at(node.options[(step - 1) % len(node.options)], step, when)
        else:
            text += node
    return text


def get_learned_conditioning_prompt_schedules(prompts, base_steps, hires_steps=None, use_old_scheduling=False):
    """For each prompt the list of [last step, text]."""
    hires = 0 if hires_steps is None or use_old_scheduling else 1
    steps = hires_steps if hires else base_steps

    def when(number):
        return _step(number, steps, base_steps, hires)

    schedules = []
    for prompt in prompts:
        nodes, _, _ = _parse(prompt)
        found = {steps}
        _walk(nodes, steps, when, found)
        schedules.append([[step, _at(nodes, step, when)] for step in sorted(found) if step >= 1])
    return schedules


# -- conditions --------------------------------------------------------------------------------------------


def get_learned_conditioning(model, prompts, steps, hires_steps=None, use_old_scheduling=False):
    """For each prompt a list of ScheduledPromptConditioning, whose cond is (tokens, channels)."""
    done, answer = {}, []
    for prompt, schedule in zip(prompts, get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling)):
        if prompt not in done:
            conds = model.get_learned_conditioning(SdConditioning([text for _, text in schedule], copy_from=prompts))
            done[prompt] = [ScheduledPromptConditioning(end, cond) for (end, _), cond in zip(schedule, conds)]
        answer.append(done[prompt])
    return answer


class ComposableScheduledPromptConditioning:
    def __init__(self, schedules, weight=1.0):
        self.schedules, self.weight = schedules, weight


class MulticondLearnedConditioning:
    def __init__(self, shape, batch):
        self.shape, self.batch = shape, batch


_WEIGHT = re.compile(r"(.*?)(?:\s*:\s*([-+]?(?:\d+\.?\d*|\.\d+)))?\s*", re.S)


def get_multicond_learned_conditioning(model, prompts, steps, hires_steps=None, use_old_scheduling=False):
    """The same for prompts that AND divides into weighted parts."""
    batch = []
    for prompt in prompts:
        parts = [_WEIGHT.fullmatch(part).groups() for part in re.split(r"\bAND\b", prompt)]
        texts = SdConditioning([text for text, _ in parts], copy_from=prompts)
        schedules = get_learned_conditioning(model, texts, steps, hires_steps, use_old_scheduling)
        batch.append([ComposableScheduledPromptConditioning(schedule, float(weight or 1.0))
                      for schedule, (_, weight) in zip(schedules, parts)])
    return MulticondLearnedConditioning((len(prompts),), batch)


def _entry(schedule, step):
    """The first entry that lasts to this step; past the last one, the first (as the real host does)."""
    return next((entry for entry in schedule if step <= entry.end_at_step), schedule[0]).cond


def reconstruct_cond_batch(c, current_step):
    """(images, tokens, channels); fails where images' negatives have other token counts, as the real host does."""
    first = c[0][0].cond
    batch = torch.zeros((len(c), *first.shape), dtype=first.dtype)
    for row, schedule in enumerate(c):
        batch[row] = _entry(schedule, current_step)
    return batch


def reconstruct_multicond_batch(c, current_step):
    """([(row, weight), …] of each image, (rows, tokens, channels)); shorter rows repeat their last vector."""
    rows, places = [], []
    for parts in c.batch:
        places.append([])
        for part in parts:
            places[-1].append((len(rows), part.weight))
            rows.append(_entry(part.schedules, current_step))
    longest = max(row.shape[0] for row in rows)
    rows = [torch.cat([row, row[-1:].expand(longest - row.shape[0], -1)]) for row in rows]
    return places, torch.stack(rows)
