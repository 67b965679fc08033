"""``remove``: takes something out of a picture that a prompt and seed give, of a photo, or of the painted part of a picture."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from lib_negguide import plots, world
from lib_negguide.commands import common
from lib_negguide.commands.generate import free_name, infotext, save, settings_of
from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Removal, Settings
from lib_negguide.settings.inpainting import in_inpainting
from lib_negguide.wording import without

FIELDS = ("search", "detector", "every", "gone", "back", "region", "anchor", "fidelity")

EXAMPLES = """\
examples:
  python -m lib_negguide remove glasses --seeds 1-8
  python -m lib_negguide remove glasses photo.png --prompt "a portrait of a person with glasses and a hat"
  python -m lib_negguide remove glasses *.png --captioner blip-base --model v1-5.safetensors
  python -m lib_negguide remove glasses photo.png --mask mask.png --prompt "a portrait of a person" --seeds 1-4
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "remove", help="pictures without something, the rest as it was", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=common.negative_help() + "\n" + EXAMPLES,
        description="Takes something out of what a prompt and a seed give; of photos, which are turned back into noise for that; or, "
                    "with a mask, of a part of them that is sampled anew.")
    parser.add_argument("thing", metavar="THING", help="what is to go, in the words of a negative prompt")
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", type=Path, default=[], help="photos; none: what prompt and seeds give")
    parser.add_argument("--prompt", metavar="TEXT", help="what the picture shows (photos: by default a caption of each)")
    parser.add_argument("--captioner", metavar="CAPTIONER", default="auto", help=common.HELP["captioner"])
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="the ordinary negative prompt (the box of a WebUI)")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="a picture, white where the pictures are to be sampled anew (inpainting)")
    parser.add_argument("--mask-blur", type=float, default=4.0, metavar="PIXELS", help="softness of its edge (default %(default)g)")
    parser.add_argument("--fill", default="original", metavar="FILL", help="under the mask at first: original, noise or nothing")
    parser.add_argument("--strength", type=float, metavar="NUMBER", help="how far pictures are turned into noise, 0 to 1 (default: photos "
                        "0.9, with a mask 0.75)")
    parser.add_argument("--seeds", "--seed", type=common.seeds, default=[1], metavar="SEEDS", help="e.g. 7, 1-8 or 1-4,9 (default 1)")
    parser.add_argument("--settings", metavar="JSON", help="NegGuide's settings, as the API takes them: JSON, or a file with it")
    parser.add_argument("--out", type=Path, default=Path("out/remove"), help="folder for the pictures (default %(default)s/)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write what was done at each model call as JSON")
    group = parser.add_argument_group("removal")
    common.window_option(group, "When it may act, and how strongly.", "remove_")
    common.field_options(group, Removal, FIELDS, "remove_")
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser, cache=False)
    parser.set_defaults(run=run, negative=[], combine=None)


def settings_from(arguments) -> Settings:
    """Settings from ``--settings``, then THING and the removal's options on top; raises :class:`SettingsError`."""
    told = common.given(arguments, "remove_")
    told.update(told.pop("window", {}))
    base = settings_of(arguments)
    if not base.enabled:
        raise SettingsError("--settings", {"enabled": False}, "enabled: removal is what this command does")
    data = base.to_dict()
    removal = {**data.get("remove", {}), "text": arguments.thing, **told}
    if arguments.mask and not arguments.pictures:
        removal.setdefault("region", "mask")
    settings = Settings.parse({**data, "remove": removal})
    if arguments.mask and arguments.pictures:
        settings = settings.copy(update={"remove": in_inpainting(settings.remove)})
    return settings


@dataclass
class Made:
    """Pictures before and after, (B, 3, H, W) each, and what to tell of each one. ``plain``: evaluations of an ordinary sampling."""

    settings: Settings
    names: Sequence[str]
    prompts: Sequence[str]
    seeds: Sequence[int]
    before: Any
    result: Any
    plain: int
    told: Sequence[str] = ()
    more: Dict[str, Any] = field(default_factory=dict)


def run(arguments) -> int:
    settings = settings_from(arguments)
    if arguments.strength is not None and not arguments.pictures:
        raise SettingsError("--strength", arguments.strength, "given beside pictures only: what prompt and seeds give begins as noise")
    pictures = [_opened(path) for path in arguments.pictures]
    mask = _opened(arguments.mask, "--mask") if arguments.mask else None
    host = common.load(arguments)
    options = {**common.sampling(arguments, host), "negative_prompts": arguments.negative_prompt}
    captioner, clip = _openers(arguments, host)
    with common.progress("sampling") as on_step, common.progress("inversion") as on_invert:
        sampling = {**options, "open_captioner": captioner, "open_clip": clip, "on_step": on_step}
        if pictures:
            made = _changed(arguments, host, settings, pictures, mask, captioner, sampling, on_invert)
        else:
            made = _generated(arguments, host, settings, mask, sampling)
    _save(arguments, host, made, options)
    _report(arguments, made)
    return 0


def _generated(arguments, host, settings: Settings, mask, options) -> Made:
    """What a prompt and seeds give, with the thing and without."""
    prompt = arguments.prompt or (world.PROMPT if arguments.model is None or world.is_world(arguments.model) else None)
    if prompt is None:
        raise SettingsError("--prompt", None, "what the pictures show, or pictures")
    prompts = [prompt] * len(arguments.seeds)
    before = host.sample(prompts, arguments.seeds, settings.copy(update={"remove": None}), **options)
    result = host.sample(prompts, arguments.seeds, settings, mask=mask, **options)
    names = [f"{seed:05d}" for seed in arguments.seeds]
    return Made(settings, names, prompts, arguments.seeds, before.images, result, before.evaluations(0))


def _changed(arguments, host, settings: Settings, pictures, mask, captioner, options, on_invert) -> Made:
    """Photos, or with a mask pictures painted anew there; every picture with every seed."""
    from lib_negguide.hosts.embedded import image

    if arguments.prompt is not None:
        prompts = [arguments.prompt] * len(pictures)
    else:
        with captioner() as opened:
            prompts = opened.caption(pictures)
    several = len(arguments.seeds) > 1
    rows = [(picture, prompt, f"{path.stem}-{seed}" if several else path.stem, seed)
            for picture, prompt, path in zip(pictures, prompts, arguments.pictures) for seed in arguments.seeds]
    pictures, prompts, names, seeds = (list(column) for column in zip(*rows))
    before = image.tensor_of(pictures, options["size"])
    if mask is None:
        strength = image.PHOTO_STRENGTH if arguments.strength is None else arguments.strength
        photos = image.photo(host, before, prompts, seeds, settings, strength=strength, on_invert=on_invert, **options)
        settings = settings.copy(update={"remove": settings.remove.copy(update={"photo": True})})
        prompts, result, more = photos.prompts, photos.result, {}
        told = [f'under "{prompt}"; {one}' for prompt, one in zip(prompts, photos.reconstructions)]
    else:
        strength = image.STRENGTH if arguments.strength is None else arguments.strength
        prompts, more = [without(prompt, arguments.thing) for prompt in prompts], {"Mask blur": f"{arguments.mask_blur:g}"}
        result = image.img2img(host, before, prompts, seeds, settings, strength=strength, mask=mask, blur=arguments.mask_blur,
                               fill=arguments.fill, **options)
        told = [f'under "{prompt}"' for prompt in prompts]
    more = {"Denoising strength": f"{strength:g}", **more}
    return Made(settings, names, prompts, seeds, before, result, 2 * len(result.trace.calls), told, more)


def _openers(arguments, host) -> Tuple:
    """What opens the captioner and the CLIP that the options name."""
    from lib_negguide import metrics
    from lib_negguide.hosts.embedded.dns import opener

    def captioner():
        return opener(Dnp(captioner=arguments.captioner), host, arguments.download)()

    return captioner, partial(metrics.opened, arguments.clip, device=host.model.device, downloads=arguments.download)


def _opened(path: Path, name: str = "PICTURE"):
    from PIL import Image

    try:
        return Image.open(path).convert("RGB")
    except OSError as error:
        raise SettingsError(name, str(path), f"a picture that can be read: {error.strerror or 'not one'}") from None


def _save(arguments, host, made: Made, options) -> None:
    """Every picture with its infotext, and a sheet with both rows."""
    from lib_negguide.hosts.embedded.result import pil

    arguments.out.mkdir(parents=True, exist_ok=True)
    trace, after = made.result.trace, made.result.pil()
    sigmas = [call.sigma for call in trace.calls]
    for name, prompt, seed, picture in zip(made.names, made.prompts, made.seeds, after):
        path = free_name(arguments.out, name)
        save(picture, path, infotext(prompt, arguments.negative_prompt, made.settings, sigmas, host, seed, options, made.result.scheduler,
                                     **made.more))
        print(path)
    gone = f"without {arguments.thing}"
    rows = [plots.Row("before", "", [plots.Cell(picture, lines=[name]) for name, picture in zip(made.names, pil(made.before))]),
            plots.Row(gone, "", [plots.Cell(picture, _acted(trace, number)) for number, picture in enumerate(after)])]
    path = free_name(arguments.out, re.sub(r"\W+", "-", gone).strip("-"))
    plots.contact_sheet(gone, rows).save(path)
    print(path)


def _acted(trace, picture: int) -> List[float]:
    """A removal's strength in a picture at each call, as a share of the highest; nothing where it is no part of the trace."""
    strengths = [call.removal.strengths[picture] if call.removal else 0.0 for call in trace.calls]
    highest = max(strengths)
    return [strength / highest for strength in strengths] if highest else []


def _report(arguments, made: Made) -> None:
    """What was done at which calls, how well photos came back from their noise, what it cost."""
    for name, line in zip(made.names, made.told):
        print(f"{name}: {line}")
    for line in [*made.result.trace.summary(), *made.result.notes]:
        print(line)
    spent = [made.result.evaluations(number) for number in range(len(made.names))]
    print(f"predictions per picture: {sum(spent) / len(spent):.4g}; an ordinary sampling takes {made.plain}")
    if arguments.trace:
        arguments.trace.write_text(json.dumps(made.result.trace.to_dict(), indent=1), "utf-8")
