"""What a user can ask for: one validated model, whose fields are the one table.

The accordion, the API and its schema, the infotext, the X/Y/Z axes, the presets and
the command line all read names, labels, ranges, choices, defaults and help from here.
"""

from __future__ import annotations

import json
import math
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

try:  # hosts have either major version; the v1 interface is in both
    import pydantic.v1 as pydantic
except ImportError:
    import pydantic

from lib_negguide.errors import SettingsError
from lib_negguide.schedule import CURVES, UNITS, to_sigma

SCHEMA_VERSION = 1
COMBINE = ("join", "branches", "perp-neg")
SCALES = ("paper", "host")
USES = ("join", "replace")
SEVERAL = ("join", "best")
SIDES = ("negative", "positive")
NOISES = ("none", "fade", "dissolve", "gaussian", "shuffle")


def _choice(*names: str):
    """A validator: the field's value must be one of its ``choices``."""

    def check(cls, value, field):
        if value not in field.field_info.extra["choices"]:
            raise ValueError("not a choice")
        return value

    return pydantic.validator(*names, allow_reuse=True)(check)


def only(wanted, *names: str):
    """A validator: pydantic would turn a text, a boolean or a broken number into what the field wants; ``wanted(value)`` says no."""

    def check(cls, value):
        if value is not None and not wanted(value):
            raise ValueError("of another kind")
        return value

    return pydantic.validator(*names, pre=True, allow_reuse=True)(check)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    return is_number(value) and value == int(value)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


class Model(pydantic.BaseModel):
    """Base of what is asked for in JSON; unknown fields are refused."""

    class Config:
        extra = "forbid"
        allow_mutation = False


class Window(Model):
    """When, and how strongly, one negative acts."""

    start: Optional[float] = pydantic.Field(
        None, ge=0, title="Start", allowed="a number from 0, or null for the first step",
        help="Noise level, fraction of the run or step from which it acts. Empty: from the first step.")
    stop: Optional[float] = pydantic.Field(
        None, ge=0, title="Stop", allowed="a number from 0, or null for the last step",
        help="Where it ceases to act. Empty: it acts to the last step.")
    unit: str = pydantic.Field(
        "sigma", title="Unit", choices=UNITS,
        help="Unit of start and stop. Sigma falls during a run; fraction and step rise. All are applied as sigma.")
    weight: float = pydantic.Field(
        1.0, ge=0, le=2, step=0.05, title="Weight", allowed="a number from 0 to 2",
        help="0: as an empty negative prompt. 1: as an ordinary one. Up to 2: beyond it.")
    curve: str = pydantic.Field(
        "constant", title="Curve", choices=CURVES,
        help="How the weight runs from start to stop.")
    points: List[Tuple[float, float]] = pydantic.Field(
        [], title="Points", allowed="a list of [position, factor], each number from 0 to 1, positions rising",
        help='For the curve "points": [position in the window, factor of the weight], each from 0 to 1.')

    _choices = _choice("unit", "curve")
    _numbers = only(is_number, "start", "stop", "weight")

    @pydantic.validator("points", allow_reuse=True)
    def _a_curve(cls, value):
        if not all(0 <= number <= 1 for pair in value for number in pair):
            raise ValueError("out of range")
        if any(right[0] <= left[0] for left, right in zip(value, value[1:])):
            raise ValueError("not rising")
        return value

    def check(self, path: str) -> None:
        """Rules between fields; raises :class:`SettingsError` naming the field under ``path``."""
        if self.unit == "fraction":
            for name in ("start", "stop"):
                value = getattr(self, name)
                if value is not None and value > 1:
                    raise SettingsError(path + name, value, "a fraction of the run is a number from 0 to 1")
        if self.start is not None and self.stop is not None:
            if self.unit == "sigma" and self.start < self.stop:
                raise SettingsError(path + "start", self.start,
                                    f"sigma falls during a run, so start is at least stop ({self.stop:g})")
            if self.unit != "sigma" and self.start > self.stop:
                raise SettingsError(path + "start", self.start, f"at most stop ({self.stop:g})")
        if self.curve == "points" and not self.points:
            raise SettingsError(path + "points", self.points, 'the curve "points" needs at least one [position, factor]')

    def in_sigma(self, sigmas: Sequence[float]) -> Window:
        """The same window with ends in sigma, for a whole run over these falling ``sigmas``."""
        if self.unit == "sigma":
            return self
        start = self.start or None  # from step 0 is from the beginning, however noisy a sampler makes it
        ends = {"start": to_sigma(start, self.unit, sigmas), "stop": to_sigma(self.stop, self.unit, sigmas)}
        return self.copy(update=dict(ends, unit="sigma"))


class Negative(Window):
    """A negative prompt of NegGuide's own, with its window."""

    text: str = pydantic.Field(
        ..., title="Text", allowed="a text",
        help="What must not be in the picture, in the host's prompt syntax. An empty text does nothing.")


class Schedule(Model):
    """Which negatives act in one sampling pass, and how they are combined."""

    box: Window = pydantic.Field(
        Window(), title="Negative prompt box", allowed="an object with the fields of a window",
        help="Window and weight of the ordinary negative prompt.")
    negatives: List[Negative] = pydantic.Field(
        [], title="Negatives", allowed="a list of objects with a text and the fields of a window",
        help="More negatives, each with a window of its own.")
    combine: str = pydantic.Field(
        "join", title="Combine", choices=COMBINE,
        help="join: one unconditional condition, at no extra cost. branches: each active negative is one more "
             "prediction (Desai and Vasconcelos, eq. 4). perp-neg: so too, but only what is perpendicular to the prompt.")

    _choices = _choice("combine")

    def windows(self) -> Iterator[Tuple[str, Window]]:
        """(path, window) of the box and of every negative."""
        yield "box.", self.box
        for index, negative in enumerate(self.negatives):
            yield f"negatives[{index}].", negative

    def map_windows(self, change) -> Schedule:
        """A copy with ``change(window)`` in place of each window, the box's included."""
        return self.copy(update={"box": change(self.box), "negatives": [change(n) for n in self.negatives]})

    def in_sigma(self, sigmas: Sequence[float]) -> Schedule:
        """A copy with every window in sigma (see :meth:`Window.in_sigma`)."""
        return self.map_windows(lambda window: window.in_sigma(sigmas))


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

    _choices = _choice("meaning")
    _numbers = only(is_number, "scale")

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

    _choices = _choice("several", "use")
    _shares = only(is_number, "steps", "size")
    _counts = only(is_whole, "samples", "beams", "min_tokens", "max_tokens")
    _flags = only(is_flag, "scores", "keep_better")

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


class ImagePrompt(Window):
    """A picture as a prompt, by IP-Adapter: what to avoid, or what to show. Weight 0 is as none, on either side."""

    image: str = pydantic.Field(
        "", title="Picture", allowed="a picture as base64, as a data URL or as the reference (sha256:…) of a stored one",
        help="The picture itself, or the reference of a stored one. Empty: noise alone.")
    name: str = pydantic.Field("", title="Name", allowed="a text", help="The picture's name, for people.")
    side: str = pydantic.Field(
        "negative", title="Side", choices=SIDES, help="negative: what the picture shows is avoided. positive: it is wanted.")
    noise: str = pydantic.Field(
        "none", title="Noise", choices=NOISES,
        help="Noise on the picture, or alone. fade: it fades into noise. dissolve: some of its pixels are noise. gaussian: noise is added. "
             "shuffle: its tiles change places.")
    amount: float = pydantic.Field(
        0.5, ge=0, le=1, step=0.05, title="Noise amount", allowed="a number from 0 to 1", help="How much of it; 0 is none.")
    seed: int = pydantic.Field(
        0, ge=0, le=2**32 - 1, step=1, title="Noise seed", allowed="a whole number from 0 to 4294967295",
        help="Another seed is other noise.")

    _sides = _choice("side", "noise")
    _amounts = only(is_number, "amount")
    _seeds = only(is_whole, "seed")

    def check(self, path: str) -> None:
        super().check(path)
        if not self.image.strip() and (self.noise in ("none", "shuffle") or not self.amount):
            raise SettingsError(path + "image", self.image, "a picture; or noise alone: fade, dissolve or gaussian, of an amount above 0")


class Settings(Schedule):
    """All of NegGuide for one request; also the API's object (``enabled`` defaults to true there)."""

    enabled: bool = pydantic.Field(True, title="Enabled", allowed="true or false", help="Off: the host as without NegGuide.")
    hires: Optional[Schedule] = pydantic.Field(
        None, title="Hires pass", allowed="an object with box, negatives and combine, or null for the same as the first pass",
        help="Other negatives for the hires pass. Empty: the same schedule, over sigma.")
    dnp: Optional[Dnp] = pydantic.Field(
        None, title="Auto-DNP", allowed="an object with the fields of Dnp, or null for off",
        help="Let the model show its own negative: a first sampling away from the prompt, captioned; the caption is the negative.")
    dns: Optional[Dns] = pydantic.Field(
        None, title="DNS", allowed="an object with scale and meaning, or null for off",
        help="Make the diffusion-negative picture of the prompt itself. No other negative acts.")
    images: List[ImagePrompt] = pydantic.Field(
        [], title="Image prompts", allowed="a list of objects with a picture and the fields of a window",
        help="Pictures of what to avoid and of what to show, in both passes, each with a window of its own. They need an IP-Adapter.")
    adapter: str = pydantic.Field(
        "auto", title="IP-Adapter", allowed="auto, or an IP-Adapter's file name",
        help="The IP-Adapter for image prompts. auto: the first that fits the model.")
    image_encoder: str = pydantic.Field(
        "auto", title="Image encoder", allowed="auto, or the name of a CLIP image encoder's file or folder",
        help="The CLIP image encoder for image prompts. auto: the first that fits the IP-Adapter.")
    version: int = pydantic.Field(
        SCHEMA_VERSION, title="Settings version", allowed=f"a whole number from 1 to {SCHEMA_VERSION}",
        ge=1, le=SCHEMA_VERSION, help="Version of this object's form; older ones are understood.")

    @classmethod
    def parse(cls, data: Any) -> Settings:
        """Validate a JSON object (dict or text); raises :class:`SettingsError` with path, value and what is allowed."""
        if isinstance(data, (str, bytes)):
            try:
                data = json.loads(data or "{}")
            except ValueError:
                raise SettingsError("settings", data, "a JSON object") from None
        if isinstance(data, Settings):
            return data
        if not isinstance(data, dict):
            raise SettingsError("settings", data, "a JSON object")
        settings = parsed_as(cls, data)
        for prefix, schedule in settings.passes():
            for path, window in schedule.windows():
                window.check(prefix + path)
        if settings.dns is not None:
            settings.dns.check("dns.")
        if settings.dnp is not None:
            settings.dnp.check("dnp.")
            if settings.dns is not None:
                raise SettingsError("dns", settings.dns.dict(exclude_defaults=True), "null while dnp is on: it is either of them")
        for index, image in enumerate(settings.images):
            image.check(f"images[{index}].")
        if settings.images and settings.dns is not None:
            raise SettingsError("images", f"{len(settings.images)} pictures",
                                "none while dns is on: it is the opposite of the prompt's text")
        return settings

    def passes(self) -> Iterator[Tuple[str, Schedule]]:
        """(path, schedule) of the first pass and, where it has its own, of the hires pass."""
        yield "", self
        if self.hires is not None:
            yield "hires.", self.hires

    def schedule(self, is_hr_pass: bool = False) -> Schedule:
        """The schedule of a pass."""
        return self.hires if is_hr_pass and self.hires is not None else self

    def map_windows(self, change) -> Settings:
        """A copy with ``change(window)`` in place of each window, those of the hires pass, captions and pictures included."""
        update = {}
        if self.hires is not None:
            update["hires"] = self.hires.map_windows(change)
        if self.dnp is not None:
            update["dnp"] = self.dnp.copy(update={"window": change(self.dnp.window)})
        update["images"] = [change(image) for image in self.images]
        return super().map_windows(change).copy(update=update)

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready, defaults left out; ``Settings.parse(s.to_dict()) == s``."""
        return self.dict(exclude_defaults=True)


def parsed_as(model, data: Any):
    """The object as a ``model``; raises :class:`SettingsError` with path, value and what is allowed. Rules between fields: ``check``."""
    try:
        return model.parse_obj(data)
    except pydantic.ValidationError as error:
        raise _explained(model, data, error) from None


def fields(model=Settings) -> List[Dict[str, Any]]:
    """The field table of a model: name, title, help, default, allowed and, where they exist, choices, range, step."""
    table = []
    for name, field in model.__fields__.items():
        info = field.field_info
        low = info.gt if info.ge is None else info.ge
        row = {"name": name, "title": info.title, "help": info.extra["help"], "default": field.default,
               "choices": info.extra.get("choices"), "min": low, "max": info.le, "step": info.extra.get("step")}
        row["allowed"] = info.extra.get("allowed") or "one of " + ", ".join(info.extra["choices"])
        table.append(row)
    return table


def _explained(model, data: Any, error) -> SettingsError:
    """The first of pydantic's complaints as a :class:`SettingsError` in the table's words."""
    first = error.errors()[0]
    path, value, allowed = "", data, ""
    for key in first["loc"]:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += ("." if path else "") + str(key)
            if model is not None and key in model.__fields__:
                field = model.__fields__[key]
                allowed = next(row["allowed"] for row in fields(model) if row["name"] == key)
                model = field.type_ if isinstance(field.type_, type) and issubclass(field.type_, Model) else None
            elif first["type"] == "value_error.extra":
                allowed = "unknown field; known are " + ", ".join(model.__fields__)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
    if first["type"] == "value_error.missing":
        allowed = f"required: {allowed}"
    return SettingsError(path, value, allowed)
