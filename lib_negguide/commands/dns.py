"""``dns``: diffusion-negative pictures, and what they show."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from lib_negguide import dns
from lib_negguide.commands import common, pairs
from lib_negguide.commands.generate import infotext, save
from lib_negguide.settings import Dnp, Settings

FIELDS = ("scale", "meaning", "samples", "captioner", "beams", "min_tokens", "max_tokens")

EXAMPLES = """\
examples:
  python -m lib_negguide dns "a red circle and a blue triangle" --seeds 1-4
  python -m lib_negguide dns --prompts prompts.txt --seeds 1-8 --model v1-5.safetensors --captioner blip-large
  python -m lib_negguide dns "a castle" --scale 8.5 --meaning host --no-captions

by hand: edit the captions in out/dns/results.jsonl, then
  python -m lib_negguide dnp --captions out/dns/results.jsonl
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "dns", help="what the model takes for the opposite of a prompt, and its caption",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=pairs.AGAIN + "\n" + EXAMPLES,
        description="Diffusion-negative pictures (Desai and Vasconcelos, ECCV 2024, eq. 19) and their captions.")
    pairs.options(parser, "out/dns")
    common.dnp_options(parser, FIELDS)
    parser.add_argument("--no-captions", action="store_true", help="pictures only")
    parser.add_argument("--scores", action="store_true", help="CLIP score of each negative picture for the prompt")
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser)
    parser.set_defaults(run=run)


class _Silent:
    """A captioner for pictures only."""

    name = ""

    def caption(self, images, how) -> List[str]:
        return [""] * len(images)


def run(arguments) -> int:
    from lib_negguide.hosts.embedded import dns as embedded

    wanted = pairs.pairs_of(arguments)
    settings = Settings.parse({"dnp": {**common.dnp_of(arguments), "steps": 1, "size": 1}})  # of auto-DNP they may be cheaper
    dnp = settings.dnp
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    with common.showing(arguments, settings, host, captions=arguments.no_captions, clip=arguments.scores) as extra:
        captioner = extra.get("captioner") or _Silent()
        identity = {"command": "dns", "captioner": captioner.name, "how": [dnp.beams, dnp.min_tokens, dnp.max_tokens],
                    "samples": dnp.samples, "run": embedded.identity(host, dnp, options)}
        results = pairs.Results(arguments.out, identity)
        todo = [pair for pair in wanted if not results.done(results.key(pair), ["dns"], ["scores"] if arguments.scores else [])]
        common.tell_resumed(len(wanted) - len(todo))
        for place, part in pairs.batches(todo, options["batch_size"]):
            with common.progress(f"negative pictures {place}") as on_step:
                found, calls = embedded.negatives(host, dnp, [p for p, _ in part], [s for _, s in part], captioner,
                                                  cache=extra["cache"], on_step=on_step, **options)
            for pair, negative in zip(part, found):
                line = shown_line(host, results, pair, negative, dnp, options)
                line["evaluations"] = 2 * calls * sum(not entry.cached for entry in negative.shown)
                if arguments.scores:
                    scores = extra["clip"].scores([entry.image for entry in negative.shown], [pair[0]] * len(negative.shown))
                    line["scores"] = [score.to_dict() for score in scores]
                results.add(line)
                path = results.folder / line["files"]["dns"][0]
                print(f"{path}: {negative.text}" if negative.text else path)
    print(results.path)
    return 0


def shown_line(host, results: pairs.Results, pair: pairs.Pair, negative: dns.Negative, dnp: Dnp, options, **more) -> Dict[str, Any]:
    """Save the negative pictures of a pair, each with the infotext that makes it again; the beginning of its line."""
    from lib_negguide.hosts.embedded import dns as embedded

    key = results.key(pair, **more)
    files, cheap = [], embedded.dns_options(dnp, options)
    for number, entry in enumerate(negative.shown, 1):
        name = results.name(pair, key, "dns" if number == 1 else f"dns{number}")
        save(entry.image, results.folder / name, infotext(pair[0], "", embedded.dns_settings(dnp), [], host, entry.wanted.seed, cheap,
                                                          options["scheduler"], entry.caption))
        files.append(name)
    first = negative.shown[0] if negative.shown else None
    line = {"prompt": pair[0], "seed": pair[1], "caption": negative.text, "raw": first.raw if first else negative.text,
            "captioner": first.captioner if first else "", "files": {"dns": files} if files else {}}
    if len(negative.shown) > 1:
        line["negatives"] = [{"seed": entry.wanted.seed, "caption": entry.caption, "raw": entry.raw, "score": entry.score}
                             for entry in negative.shown]
    return {**line, "key": key}


def sheet_path(folder: Path, results: pairs.Results, prompt: str) -> Path:
    """Where a prompt's sheet of the paper's figure 4 goes."""
    key = results.key((prompt, 0))
    return folder / results.name((prompt, 0), key, "four").replace("-00000-", "-")
