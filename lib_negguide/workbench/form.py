"""What a run of the workbench is asked for: one validated object, whose fields the page, the API and the command line read."""

from __future__ import annotations

from typing import Any, List, Optional

from lib_negguide.errors import SettingsError
from lib_negguide.schedule import UNITS
from lib_negguide.settings import Dnp, Model, Window, is_number, parsed_as, pydantic
from lib_negguide.settings.table import choice

STRIPS = ("windows", "weights", "formulas", "removal", "four")
FORMULAS = ("stock", "window", "branches", "perp-neg", "loop")
MOST = 64
"""Pictures in one strip."""

POINTS = (0.0, 0.1667, 0.3333, 0.5, 1.0)
WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


class Form(Model):
    """One strip: pictures of the same prompt and seed that differ in what a negative does."""

    strip: str = pydantic.Field(
        "windows", title="Strip", choices=STRIPS,
        help="windows: a grid of starts and ends of the negative (Ban et al., ECCV 2024). weights: from weak to strong. formulas: ways to "
             "combine prediction and negative. removal: the negative taken out of the picture. four: figure 4 of Desai and Vasconcelos "
             "(ECCV 2024), the model's own negative.")
    prompt: str = pydantic.Field(..., title="Prompt", allowed="a text", help="What the picture shows, in the host's prompt syntax.")
    negative: str = pydantic.Field(
        "", title="Negative", allowed="a text; for all strips but four one that is not empty",
        help="The negative that is looked at: it acts otherwise in every picture of the strip. Strip removal: what is to go.")
    negative_prompt: str = pydantic.Field(
        "", title="Negative prompt box", allowed="a text", help="An ordinary negative prompt that acts in every picture beside it.")
    seed: int = pydantic.Field(
        -1, ge=-1, le=(1 << 32) - 1, title="Seed", allowed="a whole number from -1 to 4294967295",
        help="The same for all pictures of the strip; -1 is a random one.")
    points: List[float] = pydantic.Field(
        list(POINTS), title="Starts and ends", allowed="a list of 2 to 11 different numbers from 0",
        help="Strip windows: where the negative may start and end, after the delayed negatives of Ban et al. (ECCV 2024). Every pair in "
             "the order of the run is a picture.")
    unit: str = pydantic.Field(
        "fraction", title="Unit of starts and ends", choices=UNITS,
        help="fraction: share of the run from 0 to 1. step: sampling step. sigma: noise level, falling.")
    weights: List[float] = pydantic.Field(
        list(WEIGHTS), title="Weights", allowed="a list of 1 to 16 different numbers from 0 to 2",
        help="Strip weights: how strong the negative is; 1 is an ordinary negative prompt (muerrilla's NPW).")
    window: Window = pydantic.Field(
        Window(), title="Window", allowed="an object with the fields of a window",
        help="When the negative acts, in the strips weights and formulas. Open in formulas: sigma 5.8 to 1.6, after Ban et al.")
    formulas: List[str] = pydantic.Field(
        list(FORMULAS), title="Formulas", allowed="a list of some of " + ", ".join(FORMULAS),
        help="stock: the host's own negative prompt. window: only in the window. branches: a prediction of its own (Desai and "
             "Vasconcelos, eq. 4). perp-neg: only what is perpendicular to the prompt (Armandpour et al.). loop: removal in a closed loop, "
             "while the thing is there, and where it is.")
    caption: str = pydantic.Field(
        "", title="Caption", allowed="a text",
        help="Strip four: the caption n* of Desai and Vasconcelos to use. Empty: what the captioner says of the diffusion-negative "
             "picture.")
    captioner: str = Dnp.__fields__["captioner"].field_info
    steps: int = pydantic.Field(20, ge=1, le=150, title="Steps", allowed="a whole number from 1 to 150", help="Sampling steps.")
    cfg_scale: float = pydantic.Field(
        7.0, ge=1, le=60, step=0.5, title="CFG scale", allowed="a number from 1 to 60",
        help="Scale of classifier-free guidance (Ho and Salimans). At 1 no negative acts.")
    width: int = pydantic.Field(
        512, ge=64, le=4096, step=8, multiple_of=8, title="Width", allowed="a multiple of 8 from 64 to 4096", help="In pixels.")
    height: int = pydantic.Field(
        512, ge=64, le=4096, step=8, multiple_of=8, title="Height", allowed="a multiple of 8 from 64 to 4096", help="In pixels.")
    sampler_name: str = pydantic.Field(
        "", title="Sampler", allowed="the name of a sampler of the host", help="Empty: the host's first one.")
    scheduler: str = pydantic.Field(
        "Automatic", title="Schedule type", allowed="the name of a schedule type of the host", help="Automatic: the sampler's own.")
    clip: bool = pydantic.Field(
        False, title="CLIP scores", allowed="true or false",
        help="Cosine of each picture with the prompt, whole and least part (protocol of Attend-and-Excite). Needs CLIP ViT-B/16.")
    norms: bool = pydantic.Field(
        False, title="Directions", allowed="true or false",
        help="At each model call the lengths of what prompt and negative add to the empty prompt, ‖d_p − d_u‖ and ‖d_n − d_u‖, and their "
             "cosine. Two more predictions a call; no picture changes. Not in the strip four.")
    previews: int = pydantic.Field(
        0, ge=0, le=12, step=1, title="Previews", allowed="a whole number from 0 to 12",
        help="Show what the picture would be (x0) at so many model calls, spread over the run.")
    attention: bool = pydantic.Field(
        False, title="Attention", allowed="true or false",
        help="Where the picture attends to each word of prompt and negative, at each call of a short run, at every second of a longer one; "
             "and r_t, how sharply to the negative, compared with the prompt (Ban et al., ECCV 2024, figure 1). No more predictions.")

    _choices = choice("strip", "unit")

    @pydantic.validator("points", "weights", pre=True, allow_reuse=True)
    def _different(cls, value, field):
        least, most = (2, 11) if field.name == "points" else (1, 16)
        numbers = isinstance(value, (list, tuple)) and all(is_number(one) for one in value)
        if not numbers or not least <= len(value) <= most or len(set(value)) != len(value):
            raise ValueError("not a list of different numbers")
        if not all(0 <= one <= (2 if field.name == "weights" else one) for one in value):
            raise ValueError("out of range")
        return list(value)

    @pydantic.validator("formulas", allow_reuse=True)
    def _known(cls, value):
        if not value or len(set(value)) != len(value) or not set(value) <= set(FORMULAS):
            raise ValueError("unknown")
        return value

    @classmethod
    def parse(cls, body: Any) -> Form:
        """Validate a JSON object; raises :class:`SettingsError` with path, value and what is allowed."""
        if not isinstance(body, dict):
            raise SettingsError("body", body, "a JSON object")
        form = parsed_as(cls, body)
        form.window.check("window.")
        if form.strip != "four" and not form.negative.strip():
            raise SettingsError("negative", form.negative, cls.__fields__["negative"].field_info.extra["allowed"])
        if form.unit == "fraction" and max(form.points) > 1:
            raise SettingsError("points", form.points, "numbers from 0 to 1 where the unit is fraction")
        if form.strip == "four" and form.dnp.captioner == "text" and not form.caption.strip():
            raise SettingsError("captioner", "text", "another captioner where there is no caption")
        return form

    @property
    def dnp(self) -> Dnp:
        """Auto-DNP whose negative picture is made like the others: at the run's own steps and size."""
        return Dnp(captioner=self.captioner, steps=1.0, size=1.0)

    @property
    def watched(self) -> str:
        """The negative whose directions are wanted, or ""."""
        return self.negative if self.norms and self.strip != "four" else ""

    def with_seed(self, seed: Optional[int]) -> Form:
        return self if seed is None else self.copy(update={"seed": int(seed)})


def defaults() -> dict:
    """Every field's default, JSON-ready; ``None`` of those that are required."""
    values = {name: field.default for name, field in Form.__fields__.items()}
    return {name: value.dict(exclude_defaults=True) if isinstance(value, Window) else value for name, value in values.items()}
