"""``generate``: pictures with scheduled negatives, saved as PNG with their infotext."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Optional, Union

from lib_negguide import __version__
from lib_negguide.commands import common, image_options
from lib_negguide.errors import NegGuideError, SettingsError
from lib_negguide.image_prompt.store import Store
from lib_negguide.settings import COMBINE, Settings

# As in a WebUI's infotext, so that a picture made here can be sent to txt2img there.
ON, SCHEDULE, CAPTION, SCORES = "NegGuide", "NegGuide schedule", "NegGuide caption", "NegGuide scores"
SCHEDULERS = {"uniform": "Uniform", "karras": "Karras", "exponential": "Exponential", "sgm uniform": "SGM Uniform"}

EXAMPLES = """\
examples:
  python -m lib_negguide generate "a portrait of a person" --negative mustache@noun --seeds 1-4
  python -m lib_negguide generate "a portrait of a person" -n glasses@5.8:1.6 -n hat@0.2:1:fraction*0.8
  python -m lib_negguide generate "a castle" --model v1-5.safetensors --negative-prompt "fog" --settings mine.json
  python -m lib_negguide generate "a portrait of a person" --negative-image glasses.png@5.8:1.6 --image hat.png*0.7
  python -m lib_negguide generate "a red circle and a blue triangle" --settings '{"dnp": {}}'
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "generate", help="pictures with scheduled negatives", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Pictures with scheduled negatives, saved as PNG.", epilog=common.negative_help() + "\n" + EXAMPLES)
    parser.add_argument("prompt", help="what the picture shows")
    parser.add_argument("-n", "--negative", action="append", default=[], metavar=common.NEGATIVE_FORM,
                        help="a negative with its window; may be repeated")
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="the ordinary negative prompt (the box of a WebUI)")
    parser.add_argument("--combine", choices=COMBINE, help="how negatives that overlap are combined (default join, at no extra cost)")
    parser.add_argument("--remove", metavar="TEXT", help="take that out of the picture that the seed gives (see the command remove)")
    parser.add_argument("--settings", metavar="JSON", help="NegGuide's settings, as the API takes them: JSON, or a file with it")
    parser.add_argument("--seeds", "--seed", type=common.seeds, default=[1], metavar="SEEDS", help="e.g. 7, 1-8 or 1-4,9 (default 1)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures (default %(default)s/)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write what was done at each model call as JSON")
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser)
    image_options.add(parser)
    parser.set_defaults(run=run)


def settings_of(arguments, dnp: Optional[dict] = None, store: Optional[Store] = None) -> Settings:
    """Settings from ``--settings``, then ``--negative``, ``--combine``, ``--remove`` and ``dnp`` on top; raises :class:`SettingsError`.

    Pictures of image prompts are put into the ``store``, where there is one.
    """
    text = arguments.settings or "{}"
    if not text.lstrip().startswith("{"):
        file = Path(text)
        if not file.is_file():
            raise SettingsError("--settings", text, "a JSON object or a file with one")
        text = file.read_text("utf-8")
    data = Settings.parse(text).to_dict()
    added = [common.parse_negative(written).dict(exclude_defaults=True) for written in arguments.negative]
    data["negatives"] = data.get("negatives", []) + added
    if arguments.combine:
        data["combine"] = arguments.combine
    if getattr(arguments, "remove", None):
        data["remove"] = {**data.get("remove", {}), "text": arguments.remove}
    if dnp is not None:
        data["dnp"] = {**data.get("dnp", {}), **dnp}
    if store is not None:
        data = image_options.on_top(data, arguments, store)
    return Settings.parse(data)


def run(arguments) -> int:
    store = Store()
    settings = settings_of(arguments, store=store)
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    images = image_options.prepared(arguments, settings, host, options, store)
    prompts = [arguments.prompt] * len(arguments.seeds)
    with common.showing(arguments, settings, host) as extra, common.progress("sampling") as on_step:
        result = host.sample(prompts, arguments.seeds, settings, negative_prompts=arguments.negative_prompt, on_step=on_step,
                             **images, **extra, **options)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sigmas = [call.sigma for call in result.trace.calls]
    for number, (seed, image) in enumerate(zip(arguments.seeds, result.pil())):
        path = free_name(arguments.out, seed)
        caption = result.negatives[number].text if result.negatives else ""
        save(image, path, infotext(arguments.prompt, arguments.negative_prompt, settings, sigmas, host, seed, options, result.scheduler,
                                   caption, scores_of(result, number)))
        print(f"{path}: {caption}" if caption else path)
    for line in [*result.trace.summary(), *result.notes]:
        print(line)
    usual, spent = 2 * len(result.trace.calls), result.evaluations(0)
    if spent != usual:
        print(f"predictions per picture: {spent} instead of {usual}")
    if arguments.trace:
        arguments.trace.write_text(json.dumps(result.trace.to_dict(), indent=1), "utf-8")
    return 0


def scores_of(result, number: int) -> Optional[dict]:
    """CLIP scores of one picture, JSON-ready; ``None`` where there are none."""
    if not result.scores:
        return None
    without, guided = result.scores[number]
    return {"with": guided.to_dict(), "without": without.to_dict(), "kept": "without" if result.without[number] else "with"}


def free_name(folder: Path, seed: Union[int, str]) -> Path:
    """``00007.png``, or ``00007-2.png`` where that is taken; of a text as it is."""
    stem = seed if isinstance(seed, str) else f"{seed:05d}"
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path


def infotext(prompt, negative_prompt, settings: Settings, sigmas, host, seed, options, scheduler, caption: str = "", scores=None,
             **more) -> str:
    """The WebUI's form: prompt, negative prompt, and ``Key: value`` pairs; windows in sigma.

    ``caption``: the picture's own (DNP); ``scores``: of :func:`scores_of`; ``more``: further keys of the host.
    """
    from lib_negguide import metrics
    from lib_negguide.hosts.embedded.samplers import sampler

    width, height = options["size"]
    pairs = {"Steps": options["steps"], "Sampler": sampler(options["sampler"]).name,
             "Schedule type": SCHEDULERS.get(scheduler, "Automatic"), "CFG scale": f"{options['cfg_scale']:g}",
             "Seed": seed, "Size": f"{width}x{height}", "Model": host.model.name, **more}
    if settings.enabled:
        data = settings.in_sigma(sigmas).to_dict()
        pairs[ON] = __version__
        if data:
            pairs[SCHEDULE] = json.dumps(data, ensure_ascii=False)
        if caption:
            pairs[CAPTION] = caption
        if scores:
            pairs[SCORES] = metrics.scores_text(scores)
    lines = [prompt] + ([f"Negative prompt: {negative_prompt}"] if negative_prompt else [])
    return "\n".join([*lines, ", ".join(f"{key}: {quoted(value)}" for key, value in pairs.items())])


def quoted(value) -> str:
    """As the WebUI does: JSON where a comma, colon or newline would be misread."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text


def save(image, path: Path, parameters: str) -> None:
    """A PNG with the infotext in its ``parameters`` chunk; raises :class:`NegGuideError` where it cannot be written."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", parameters)
    try:
        image.save(path, pnginfo=info)
    except OSError as error:
        raise NegGuideError(f"NegGuide: {path} cannot be written: {error.strerror or error}") from None
