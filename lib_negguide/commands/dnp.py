"""``dnp``: pictures whose negative is the caption of what the model takes for the opposite of the prompt."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from lib_negguide import dns, plots
from lib_negguide.commands import common, pairs
from lib_negguide.commands.dns import sheet_path, shown_line
from lib_negguide.commands.generate import infotext, save, scores_of, settings_of
from lib_negguide.errors import SettingsError
from lib_negguide.settings import COMBINE, Settings

FIELDS = ("scale", "meaning", "steps", "size", "samples", "several", "captioner", "text", "beams", "min_tokens", "max_tokens", "use",
          "window", "scores", "keep_better")

EXAMPLES = """\
examples:
  python -m lib_negguide dnp "a red circle and a blue triangle" --seeds 1-4 --four
  python -m lib_negguide dnp --prompts prompts.txt --seeds 1-32 --model v1-5.safetensors --scores --cache cache
  python -m lib_negguide dnp "a castle" --dns-steps 0.5 --dns-size 0.5 --window 5.8:1.6*0.8 --negative-prompt "fog" --use join
  python -m lib_negguide dnp "a castle" --samples 4 --several best

by hand: captions that dns has written, edited, or a text file with one a line
  python -m lib_negguide dns "a castle" --seeds 1-4
  python -m lib_negguide dnp --captions out/dns/results.jsonl
  python -m lib_negguide dnp "a castle" --seeds 1-4 --captions captions.txt
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "dnp", help="pictures that move away from what the model shows as the prompt's opposite",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=pairs.AGAIN + "\n" + common.negative_help() + "\n" + EXAMPLES,
        description="Auto-DNP (Desai and Vasconcelos, ECCV 2024): a diffusion-negative picture, its caption, and the picture with "
                    "that caption as negative, all with the same seed.")
    pairs.options(parser, "out/dnp")
    common.dnp_options(parser, FIELDS)
    parser.add_argument("--captions", type=Path, metavar="FILE", help="captions by hand: results.jsonl of dns, or a text file; "
                        "prompts and seeds are those of results.jsonl unless given")
    parser.add_argument("--four", action="store_true", help="also a sheet a prompt with the four pictures of the paper's figure 4")
    parser.add_argument("-n", "--negative", action="append", default=[], metavar=common.NEGATIVE_FORM,
                        help="a further negative with its window; may be repeated")
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="the ordinary negative prompt (the box of a WebUI)")
    parser.add_argument("--combine", choices=COMBINE, help="how negatives that overlap are combined (default join, at no extra cost)")
    parser.add_argument("--settings", metavar="JSON", help="NegGuide's settings, as the API takes them: JSON, or a file with it")
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser)
    parser.set_defaults(run=run)


def run(arguments) -> int:
    from lib_negguide.hosts.embedded import dns as embedded

    wanted = _wanted(arguments)
    prompts = len({prompt for prompt, _ in wanted})
    by_hand = dict(zip(wanted, pairs.captions_of(arguments.captions, wanted, prompts))) if arguments.captions else None
    settings = settings_of(arguments, common.dnp_of(arguments))
    if not settings.enabled:
        raise SettingsError("--settings", {"enabled": False}, "enabled: dnp is what this command does")
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    with common.showing(arguments, settings, host, captions=by_hand is not None) as extra:
        captioner = extra.get("captioner")
        chosen = settings.dnp.copy(update={"scores": False})  # what scores alone tell changes no picture
        results = pairs.Results(arguments.out, {
            "command": "dnp", "captioner": captioner.name if captioner else "", "box": arguments.negative_prompt,
            "settings": settings.copy(update={"dnp": chosen}).dict(),
            "clip": extra["clip"].name if embedded.needs_clip(chosen, () if by_hand is not None else None) else "",
            "run": embedded.identity(host, settings.dnp, options), "cfg": options["cfg_scale"]})
        job = _Job(arguments, settings, host, options, results, extra, by_hand)
        todo = [pair for pair in wanted if job.done(pair) is None]
        common.tell_resumed(len(wanted) - len(todo))
        for place, part in pairs.batches(todo, options["batch_size"]):
            job.make(place, part)
    if arguments.four:
        for prompt in dict.fromkeys(prompt for prompt, _ in wanted):
            print(job.sheet(prompt, [seed for other, seed in wanted if other == prompt]))
    print(results.path)
    return 0


def _wanted(arguments) -> List[pairs.Pair]:
    """Prompts and seeds as given, else those of the captions' file."""
    if arguments.captions and not (arguments.prompt or arguments.prompts):
        found = pairs.pairs_in(arguments.captions)
        return [pair for pair in found if arguments.seeds is None or pair[1] in arguments.seeds]
    return pairs.pairs_of(arguments)


class _Job:
    """Makes, saves and notes pictures; ``by_hand``: captions of the pairs, or ``None`` for those of negative pictures."""

    def __init__(self, arguments, settings: Settings, host, options: Dict[str, Any], results: pairs.Results, extra, by_hand):
        self.settings, self.host, self.options, self.results, self.extra, self.by_hand = settings, host, options, results, extra, by_hand
        self.box, self.four = arguments.negative_prompt, arguments.four

    def key(self, pair: pairs.Pair) -> str:
        return self.results.key(pair, **self._more(pair))

    def _more(self, pair: pairs.Pair) -> Dict[str, str]:
        return {} if self.by_hand is None else {"caption": self.by_hand[pair]}

    def done(self, pair: pairs.Pair) -> Optional[Dict[str, Any]]:
        """The line of a pair that has all that is asked for now."""
        files = ["picture"] + (["plain", "only", "guided"] if self.four else [])
        return self.results.done(self.key(pair), files, ["scores"] if self.settings.dnp.scores else [])

    def make(self, place: str, part: Sequence[pairs.Pair]) -> None:
        from lib_negguide.hosts.embedded.dns import paint
        from lib_negguide.hosts.embedded.result import pil

        prompts, seeds = [prompt for prompt, _ in part], [seed for _, seed in part]
        captions = None if self.by_hand is None else [self.by_hand[pair] for pair in part]
        run = {**self.options, "negative_prompts": self.box}
        with common.progress(f"pictures {place}") as on_step:
            result = self.host.sample(prompts, seeds, self.settings, captions=captions, on_step=on_step, **self.extra, **run)
            pictures = {"picture": result.pil()}
            if result.plain is not None:
                pictures["plain"] = pil(result.plain)
            if self.four:
                guided = pictures["picture"] if result.guided is None else pil(result.guided)
                fours = dns.four(prompts, seeds, result.negatives, paint(self.host, self.settings, on_step=on_step, **run),
                                 plain=pictures.get("plain"), guided=guided)
                pictures.update(plain=[four.plain for four in fours], only=[four.only for four in fours], guided=guided)
        for number, pair in enumerate(part):
            self._note(pair, number, result, {kind: images[number] for kind, images in pictures.items()})

    def _note(self, pair: pairs.Pair, number: int, result, images: Dict[str, Any]) -> None:
        """Save the pictures of a pair and write its line."""
        results, negative, scores = self.results, result.negatives[number], scores_of(result, number)
        line = shown_line(self.host, results, pair, negative, self.settings.dnp, self.options, **self._more(pair))
        for kind, image in images.items():
            if kind == "guided" and (scores is None or scores["kept"] == "with"):
                line["files"]["guided"] = line["files"]["picture"]
                continue
            line["files"][kind] = results.name(pair, line["key"], "" if kind == "picture" else kind)
            save(image, results.folder / line["files"][kind], self._infotext(pair, kind, negative.text, scores, result))
        line["evaluations"] = result.evaluations(number)
        if scores:
            line["scores"] = scores
        results.add(line)
        print(f"{results.folder / line['files']['picture']}: {negative.text}")

    def _infotext(self, pair: pairs.Pair, kind: str, caption: str, scores, result) -> str:
        """What makes the picture again: by the model's own captions, or by those given."""
        settings, (prompt, seed) = self.settings, pair
        if kind == "plain":
            settings, caption, scores = settings.copy(update={"dnp": None}), "", None
        elif kind == "only" or self.by_hand is not None:
            given = settings.dnp.copy(update={"captioner": "text", "text": caption, "scores": False, "keep_better": False})
            settings = settings.copy(update={"dnp": given if caption.strip() else None})
        sigmas = [call.sigma for call in result.trace.calls]
        return infotext("" if kind == "only" else prompt, self.box, settings, sigmas, self.host, seed, self.options, result.scheduler,
                        caption, None if kind == "only" else scores)

    def sheet(self, prompt: str, seeds: Sequence[int]) -> Path:
        """Figure 4 of the paper for one prompt, from the pictures that are there."""
        from PIL import Image

        from lib_negguide.metrics import Score

        def opened(name: str):
            with Image.open(self.results.folder / name) as image:
                image.load()
            return image

        fours, scores = [], []
        for seed in seeds:
            line = self.done((prompt, seed))
            files, told = line["files"], line.get("scores")
            captions = [row["caption"] for row in line.get("negatives", [line])]
            shown = zip(files.get("dns", []), captions)
            negative = dns.Negative(line["caption"], [dns.Shown(dns.Wanted(prompt, seed), opened(name), said, "") for name, said in shown])
            fours.append(dns.Four(opened(files["plain"]), negative, opened(files["only"]), opened(files["guided"])))
            scores.append((Score(**told["without"]), Score(**told["with"])) if told else None)
        path, options = sheet_path(self.results.folder, self.results, prompt), self.options
        footer = f"{self.host.model.name} · {options['sampler']}, {options['steps']} steps, CFG {options['cfg_scale']:g}"
        image = plots.figure_four([prompt] * len(seeds), seeds, fours, scores, footer)
        save(image, path, opened(self.done((prompt, seeds[0]))["files"]["guided"]).info["parameters"])
        return path
