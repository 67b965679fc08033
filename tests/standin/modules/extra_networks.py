"""``<lora:NAME:WEIGHT>`` in prompts. The stand-in knows one network, ``contrast``: it makes the model's predictions larger."""

import re

from modules import shared

KNOWN = {"contrast": 0.05}
_TAG = re.compile(r"<(\w+):([^>]+)>")


def parse_prompts(prompts):
    """(prompts without tags, the tags of the first one by kind)."""
    found = {}
    for kind, items in _TAG.findall(prompts[0]):
        found.setdefault(kind, []).append(items.split(":"))
    return [_TAG.sub("", prompt) for prompt in prompts], found


def activate(p, extra_network_data):
    gain = 1.0
    for name, *weight in extra_network_data.get("lora", []):
        if name not in KNOWN:
            p.comment(f"Networks not found: {name}")
        gain += KNOWN.get(name, 0.0) * float(weight[0] if weight else 1.0)
        p.extra_generation_params["Lora hashes"] = name
    shared.sd_model.gain = gain


def deactivate(p, extra_network_data):
    shared.sd_model.gain = 1.0
