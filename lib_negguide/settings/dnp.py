"""Diffusion-negative sampling and prompting."""

from __future__ import annotations

from typing import Optional

from lib_negguide.errors import SettingsError
from lib_negguide.settings.schedule import Window
from lib_negguide.settings.table import Model, choice, pydantic

SCALES = ("paper", "host")
USES = ("join", "replace")
SEVERAL = ("join", "best")


class Dns(Model):
    """Diffusion-negative sampling: the picture that the model takes for the opposite of the prompt.

    Desai and Vasconcelos, ECCV 2024, eq. 19: eps = eps_empty + s (eps_empty - eps_prompt).
    """

    scale: Optional[float] = pydantic.Field(
        None, ge=0, le=60, title="Scale", allowed="a number from 0 to 60, or null for the run's own CFG scale",
        help="How strongly to move away from the prompt. Empty: the run's own CFG scale.")
    meaning: str = pydantic.Field(
        "paper", title="Scale is", choices=SCALES,
        help="paper: the s of eq. 19. host: the CFG scale c = s + 1 that a host needs, with an empty prompt and the prompt as negative.")

    _choices = choice("meaning")

    def away(self, cfg_scale: float) -> float:
        """The paper's s (0 and up) for a run of this CFG scale."""
        value = cfg_scale if self.scale is None else self.scale
        return value if self.meaning == "paper" else max(value - 1.0, 0.0)

    def check(self, path: str) -> None:
        """Rules between fields; raises :class:`SettingsError` naming the field under ``path``."""
        if self.meaning == "host" and self.scale is not None and self.scale < 1:
            raise SettingsError(path + "scale", self.scale, "at least 1 as the host's scale (1 is the empty prompt without guidance)")


class Dnp(Dns):
    """Auto-DNP: caption each picture's diffusion-negative picture, and use the caption as its negative."""

    steps: float = pydantic.Field(
        0.33, gt=0, le=1, step=0.01, title="Steps", allowed="a number above 0, at most 1",
        help="Share of the run's steps that the negative picture gets. A third gives nearly the caption of all of them.")
    size: float = pydantic.Field(
        1.0, ge=0.25, le=1, step=0.05, title="Size", allowed="a number from 0.25 to 1",
        help="Share of the run's width and height that the negative picture gets. Smaller is cheaper.")
    samples: int = pydantic.Field(
        1, ge=1, le=8, step=1, title="Pictures", allowed="a whole number from 1 to 8",
        help="Negative pictures a prompt: the first with the picture's own seed, the others with seeds of their own.")
    several: str = pydantic.Field(
        "join", title="Several captions", choices=SEVERAL,
        help="join: all captions, without repetitions. best: the one whose negative picture is least like the prompt (needs CLIP).")
    captioner: str = pydantic.Field(
        "auto", title="Captioner", allowed="auto, webui, blip-base, blip-large, blip2, text, a folder or a model id",
        help="Who says what the negative picture shows. auto: the host's own BLIP. text: the text below, no negative picture is made.")
    text: str = pydantic.Field(
        "", title="Caption", allowed="a text", help="The caption itself, for the captioner \"text\".")
    beams: int = pydantic.Field(
        3, ge=1, le=16, step=1, title="Beams", allowed="a whole number from 1 to 16", help="Beam search of the captioner; 1 is greedy.")
    min_tokens: int = pydantic.Field(
        5, ge=0, le=100, step=1, title="Tokens at least", allowed="a whole number from 0 to 100",
        help="Shortest caption, in the captioner's tokens.")
    max_tokens: int = pydantic.Field(
        50, ge=1, le=200, step=1, title="Tokens at most", allowed="a whole number from 1 to 200",
        help="Longest caption, in the captioner's tokens.")
    use: str = pydantic.Field(
        "join", title="Caption and negative prompt box", choices=USES,
        help="join: the caption acts beside your negative prompt. replace: instead of it.")
    window: Window = pydantic.Field(
        Window(), title="When the caption acts", allowed="an object with the fields of a window",
        help="Window and weight of the caption as a negative.")
    scores: bool = pydantic.Field(
        False, title="CLIP scores", allowed="true or false",
        help="Compare with the picture without the caption: CLIP scores of the prompt (one more sampling).")
    keep_better: bool = pydantic.Field(
        False, title="Keep the better", allowed="true or false",
        help="Give the picture of the higher CLIP score, with or without the caption.")

    _choices = choice("several", "use")

    @pydantic.validator("captioner", allow_reuse=True)
    def _named(cls, value):
        if not value.strip():
            raise ValueError("empty")
        return value.strip()

    def check(self, path: str) -> None:
        super().check(path)
        self.window.check(path + "window.")
        if self.min_tokens > self.max_tokens:
            raise SettingsError(path + "min_tokens", self.min_tokens, f"at most max_tokens ({self.max_tokens})")
        if self.captioner == "text" and not self.text.strip():
            raise SettingsError(path + "text", self.text, 'the captioner "text" needs one')
