"""``attention``: where a picture attends to chosen words of prompt and negative, from call to call, as PNG and JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from lib_negguide import plots
from lib_negguide.commands import common
from lib_negguide.errors import SettingsError

EXAMPLES = """\
examples:
  python -m lib_negguide attention "a portrait of a person" --negative glasses --token glasses --token person
  python -m lib_negguide attention "a street in the rain" --negative "car, bus" --token car --token rain --model v1-5.safetensors

The negative is an ordinary one, in the whole run. A word that both texts say is drawn for both. The framed call is the
critical one: there the attention to the word (mean square) has made 90% of its rise. After Ban et al. (2406.02965), figure 1.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "attention", help="heat maps of words over the calls of a run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("prompt", help="what the picture shows")
    parser.add_argument("-n", "--negative", default="", metavar="TEXT", help="the negative prompt")
    parser.add_argument("--token", action="append", default=[], metavar="WORDS", dest="tokens",
                        help="words of either text; may be repeated (default: the whole negative)")
    parser.add_argument("--resolutions", choices=("middle", "all"), default="middle",
                        help="layers: those of a middle resolution, or all, each resolution on a sheet of its own (default %(default)s)")
    parser.add_argument("--calls", type=common.seeds, default=[], metavar="CALLS", help="calls to draw, from 1, e.g. 1-9 (default: nine)")
    parser.add_argument("--seeds", "--seed", type=common.seeds, default=[1], metavar="SEEDS", help="e.g. 7, 1-8 or 1-4,9 (default 1)")
    parser.add_argument("--out", type=Path, default=Path("out/attention"), help="folder (default %(default)s/)")
    common.model_options(parser)
    common.sampling_options(parser)
    parser.set_defaults(run=run)


def run(arguments) -> int:
    words = arguments.tokens or ([arguments.negative] if arguments.negative.strip() else [])
    if not words:
        raise SettingsError("--token", "none", "words of the prompt or of --negative")
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    options.pop("batch_size")
    chosen = words_of(host.model, arguments.prompt, arguments.negative, words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        with common.progress("sampling") as on_step:
            image, history = sampled(host, arguments.prompt, arguments.negative, chosen, seed, arguments.resolutions == "all",
                                     on_step, options)
        calls = [call - 1 for call in arguments.calls]
        if any(not 0 <= call < len(history.sigmas) for call in calls):
            raise SettingsError("--calls", arguments.calls, f"from 1 to {len(history.sigmas)}")
        about = {"prompt": arguments.prompt, "negative": arguments.negative, "seed": seed, "model": host.model.name, **options}
        stem = arguments.out / f"{seed:05d}"
        image.save(f"{stem}.png")
        stem.with_suffix(".json").write_text(json.dumps({**about, **history.to_dict()}), "utf-8")
        for size in history.sizes():
            name = f"{seed:05d}-{size[1]}x{size[0]}.png"
            found = history.of(size)
            plots.heatmaps(f"Attention, {size[1]}x{size[0]}", image, found, history.sigmas, calls,
                           f"{arguments.prompt} | negative: {arguments.negative or '–'} | seed {seed}").save(arguments.out / name)
            print(arguments.out / name)
            for word in found:
                critical = "never rises" if word.critical is None else f"critical call {word.critical + 1} of {len(history.sigmas)}"
                print(f"  {word.name} ({word.side}): {critical}")
        print(stem.with_suffix(".json"))
    return 0


def words_of(model, prompt: str, negative: str, words: Sequence[str]) -> Dict[str, object]:
    """Side to the tokens of those words which its text says; raises :class:`SettingsError` for one that neither says."""
    from lib_negguide.attention.history import NEGATIVE, PROMPT
    from lib_negguide.attention.words import Tokens, find

    chunker = model.text.chunker
    ids = {side: chunker.ids(text) for side, text in ((PROMPT, prompt), (NEGATIVE, negative))}
    named: List[Tuple[str, List[int]]] = [(word, chunker.tokenizer(word, add_special_tokens=False)["input_ids"]) for word in words]
    for word, own in named:
        if not any(find(each, own) for each in ids.values()):
            raise SettingsError("--token", word, "words that the prompt or the negative says")
    said = {side: [pair for pair in named if find(each, pair[1])] for side, each in ids.items()}
    return {side: Tokens.of(ids[side], pairs) for side, pairs in said.items() if pairs}


def sampled(host, prompt: str, negative: str, words, seed: int, every_layer: bool, on_step, options):
    """(Pillow image, :class:`History`) of one picture."""
    from lib_negguide.attention.history import History
    from lib_negguide.attention.probes import Probe, every, middle
    from lib_negguide.hosts.embedded.result import pil
    from lib_negguide.settings import Settings

    with host.threads():
        run = host.prepare([prompt], [seed], Settings(), negative, on_step=on_step, **options)
        run.guidance.attended = History(Probe(host.model.unet, every if every_layer else middle), words,
                                          compared=bool(negative.strip()))
        image = pil(host.model.decode(run.finish(run.between(run.latents))))[0]
    return image, run.guidance.attended
