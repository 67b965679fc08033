"""What the endpoints on diffusion-negative prompting take: validated like all settings, and described for ``/docs``."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Dns, Model, Settings, is_text, is_whole, parsed_as, pydantic

MOST = 64
"""Pictures in one request."""

_TEXTS = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
_WHOLE = [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]


def _as_in_dnp(name: str):
    """The field of auto-DNP of this name."""
    return Dnp.__fields__[name].field_info


class CaptionForm(Model):
    """Pictures to caption, and how."""

    images: Any = pydantic.Field(
        ..., title="Pictures", oneOf=_TEXTS, allowed=f"a picture in base 64, or a list of 1 to {MOST} of them",
        help="Pictures as the host's own API takes them: base 64, with or without data:image/…;base64, before it.")
    captioner: str = _as_in_dnp("captioner")
    text: str = _as_in_dnp("text")
    beams: int = _as_in_dnp("beams")
    min_tokens: int = _as_in_dnp("min_tokens")
    max_tokens: int = _as_in_dnp("max_tokens")

    @classmethod
    def parse(cls, body: Any) -> CaptionForm:
        """Raises :class:`SettingsError`; ``images`` is a list then."""
        form = parsed_as(cls, _object(body))
        form.dnp.check("")
        return form.copy(update={"images": _listed("images", form.images, str, form)})

    @property
    def dnp(self) -> Dnp:
        """The captioner's fields in their place."""
        return parsed_as(Dnp, self.dict(exclude={"images"}))


class DnsForm(Model):
    """Diffusion-negative pictures to make, as a request for pictures."""

    prompt: Any = pydantic.Field(
        ..., title="Prompt", oneOf=_TEXTS, allowed=f"a text, or a list of 1 to {MOST} texts",
        help="What to move away from, in the host's prompt syntax. Several prompts: a picture each.")
    seed: Any = pydantic.Field(
        -1, title="Seed", oneOf=_WHOLE, allowed="a whole number from -1 to 4294967295, or a list of such numbers",
        help="One for all prompts, one for each prompt, or several for one prompt; -1 is a random one.")
    steps: int = pydantic.Field(20, ge=1, le=150, title="Steps", allowed="a whole number from 1 to 150", help="Sampling steps.")
    width: int = pydantic.Field(
        512, ge=64, le=8192, multiple_of=8, title="Width", allowed="a multiple of 8 from 64 to 8192", help="In pixels.")
    height: int = pydantic.Field(
        512, ge=64, le=8192, multiple_of=8, title="Height", allowed="a multiple of 8 from 64 to 8192", help="In pixels.")
    cfg_scale: float = pydantic.Field(
        7.0, ge=0, le=60, title="CFG scale", allowed="a number from 0 to 60", help="The scale where dns or dnp has none of its own.")
    sampler_name: str = pydantic.Field(
        "", title="Sampler", allowed="the name of a sampler of the host", help="Empty: the host's first one.")
    scheduler: str = pydantic.Field(
        "Automatic", title="Schedule type", allowed="the name of a schedule type of the host", help="Automatic: the sampler's own.")
    styles: List[str] = pydantic.Field([], title="Styles", allowed="a list of names", help="Styles of the host that go into each prompt.")
    override_settings: Dict[str, Any] = pydantic.Field(
        {}, title="Override settings", allowed="an object of the host's options", help="The host's options for this request only.")
    dns: Optional[Dns] = pydantic.Field(
        None, title="DNS", allowed="an object with scale and meaning, or null for the defaults", help="How far to move away.")
    caption: bool = pydantic.Field(
        False, title="Caption", allowed="true or false", help="Caption the pictures too, as dnp says.")
    dnp: Optional[Dnp] = pydantic.Field(
        None, title="Auto-DNP", allowed="an object with the fields of Dnp, or null",
        help="Make and caption the negative pictures just as auto-DNP would: its steps, size, pictures, captioner. Not beside dns.")

    @classmethod
    def parse(cls, body: Any) -> DnsForm:
        """Raises :class:`SettingsError`; ``prompt`` and ``seed`` are lists of one length then."""
        form = parsed_as(cls, _object(body))
        prompts = _listed("prompt", form.prompt, str, form)
        seeds = _listed("seed", form.seed, int, form)
        for index, seed in enumerate(seeds):
            if not -1 <= seed < 1 << 32:
                raise SettingsError(f"seed[{index}]" if isinstance(form.seed, list) else "seed", seed, _allowed(form, "seed"))
        count = max(len(prompts), len(seeds))
        if len(seeds) not in (1, count) or len(prompts) not in (1, count):
            raise SettingsError("seed", form.seed, f"one number, or a list of as many as prompts ({len(prompts)})")
        for name in ("dns", "dnp"):
            if getattr(form, name) is not None:
                getattr(form, name).check(name + ".")
        if form.dnp is not None and form.dns is not None:
            raise SettingsError("dns", form.dns.dict(exclude_defaults=True), "null beside dnp, which has a scale of its own")
        captioned = form.dnp or whole(form.dns or Dns())
        if (form.caption or form.dnp) and captioned.captioner == "text":
            raise SettingsError("dnp.captioner", "text", "a captioner that looks at the picture; this text is known already")
        return form.copy(update={
            "prompt": prompts * (count if len(prompts) == 1 else 1), "seed": seeds * (count if len(seeds) == 1 else 1),
            "dnp": captioned if form.caption or form.dnp else None, "dns": form.dns or Dns()})


class ScheduleForm(Model):
    """A schedule to look at before it is run."""

    settings: Any = pydantic.Field(
        {}, title="Settings", type="object", allowed="NegGuide's object of settings", help="As in a request for pictures.")
    steps: int = pydantic.Field(20, ge=1, le=1000, title="Steps", allowed="a whole number from 1 to 1000", help="Of a whole run.")
    hires: bool = pydantic.Field(False, title="Hires pass", allowed="true or false", help="The schedule of the hires pass.")

    @classmethod
    def parse(cls, body: Any) -> ScheduleForm:
        """Raises :class:`SettingsError`; ``settings`` are validated then."""
        form = parsed_as(cls, _object(body))
        return form.copy(update={"settings": Settings.parse(form.settings)})


def whole(dns: Dns) -> Dnp:
    """Auto-DNP whose negative pictures are those of ``dns``: at the request's own steps and size."""
    return Dnp(**dns.dict(), steps=1.0, size=1.0)


def described(form) -> Dict[str, Any]:
    """The form for OpenAPI: ``openapi_extra`` of a route."""
    schema = form.schema()
    whole = _inline(schema, schema.get("definitions", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole}}}}


def _inline(node: Any, definitions: Dict[str, Any]) -> Any:
    """A JSON schema without references, help as description: OpenAPI keeps its definitions elsewhere."""
    if isinstance(node, list):
        return [_inline(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    inner = {}
    for part in (*node.get("allOf", ()), node):
        if "$ref" in part:
            inner.update(_inline(definitions[part["$ref"].rsplit("/", 1)[1]], definitions))
    inner.update({key: _inline(value, definitions) for key, value in node.items()
                  if key not in ("$ref", "allOf", "definitions", "help", "allowed")})
    if isinstance(node.get("help"), str):
        inner["description"] = node["help"] + (f" Allowed: {node['allowed']}." if "allowed" in node else "")
    return inner


def _object(body: Any) -> Dict[str, Any]:
    if not isinstance(body, dict):
        raise SettingsError("body", body, "a JSON object")
    return body


def _listed(name: str, value: Any, kind: type, form: Model) -> List[Any]:
    """One value or a list of 1 to :data:`MOST`, as a list."""
    values = value if isinstance(value, list) else [value]
    for index, one in enumerate(values):
        if kind is int and is_whole(one):
            values = [*values[:index], int(one), *values[index + 1:]]
        elif kind is int or not is_text(one):
            raise SettingsError(f"{name}[{index}]" if isinstance(value, list) else name, one, _allowed(form, name))
    if not 1 <= len(values) <= MOST:
        raise SettingsError(name, value, _allowed(form, name))
    return values


def _allowed(form: Model, name: str) -> str:
    return form.__fields__[name].field_info.extra["allowed"]
