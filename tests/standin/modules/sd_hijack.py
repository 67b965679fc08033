"""What encoding prompts notes for the infotext and the page; nothing here."""

import types

model_hijack = types.SimpleNamespace(extra_generation_params={}, comments=[])
