"""``bench attention``: what looking at attention at every model call costs, against none, alternating in one run."""

from __future__ import annotations

import argparse
import time
from typing import Callable, Dict

from lib_negguide import world
from lib_negguide.commands import common, overhead
from lib_negguide.errors import SettingsError

NEGATIVE, PROMPT_WORD = "glasses", "person"

EXAMPLES = """\
examples:
  python -m lib_negguide bench attention
  python -m lib_negguide bench attention --random sd15 --rounds 5 --steps 4

off is a run without probes; maps keeps heat maps of a word of the prompt and one of the negative, and r_t, at every call, from the
layers of the middle resolution; all from every layer; workbench as the workbench does, from at most six layers of each
resolution, of a run of more than 12 calls at every second. watch is the detector by attention, at every call. The variants
alternate; a ratio is the median over the rounds of time to that without probes in the same round. Processor time on the CPU.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "attention", help="time of attention maps at every call", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--rounds", type=int, default=25, help="default %(default)s")
    parser.add_argument("--random", choices=("sd15",), help="random weights of that size instead of a model")
    common.model_options(parser)
    common.sampling_options(parser)
    parser.set_defaults(run=run, batch=1)


def run(arguments) -> int:
    if arguments.rounds < 1:
        raise SettingsError("--rounds", arguments.rounds, "a whole number from 1")
    host = overhead._random_sd15(arguments) if arguments.random else common.load(arguments)
    options = overhead._options(arguments, host)
    clock = time.process_time if host.model.device.type == "cpu" else time.perf_counter
    with host.threads():
        functions = variants(host, options)
        times = overhead.measure(functions, arguments.rounds, dict.fromkeys(functions, clock))
    width, height = options["size"]
    print(f"{host.model.name} on {host.model.device} ({str(host.model.dtype)[6:]}), {width}x{height}, {options['steps']} steps, "
          f"{options['sampler']}, {arguments.rounds} rounds")
    print(overhead.report(times, {}))
    return 0


def variants(host, options) -> Dict[str, Callable[[int], object]]:
    """Name to a function that samples one picture of a seed."""
    from lib_negguide.attention.watch import Watch
    from lib_negguide.attention.words import Tokens
    from lib_negguide.commands import attention
    from lib_negguide.hosts.embedded.observing import Observing
    from lib_negguide.settings import Settings

    model = host.model
    words = attention.words_of(model, world.PROMPT, NEGATIVE, [PROMPT_WORD, NEGATIVE])
    tokens = Tokens.whole(model.text.chunker.ids(NEGATIVE), model.text.chunker.end, NEGATIVE)

    def plain(seed: int, watch=None):
        run = host.prepare([world.PROMPT], [seed], Settings(), NEGATIVE, **options)
        if watch is not None:
            run.guidance.watch, run.guidance.on_step = watch, lambda *_: watch.presence([0])
        return model.decode(run.finish(run.between(run.latents)))

    def watched(seed: int):
        return plain(seed, Watch(model.unet, model.encode([NEGATIVE], negative=True).crossattn, tokens))

    def mapped(every_layer: bool):
        return lambda seed: attention.sampled(host, world.PROMPT, NEGATIVE, words, seed, every_layer, lambda *_: None, options)[1].of()

    def attended(seed: int):
        looking = Observing(model, "", 0, NEGATIVE)
        run = looking.prepare([world.PROMPT], [seed], Settings(), NEGATIVE, **options)
        model.decode(run.finish(run.between(run.latents)))
        return [looking.history.of(size) for size in looking.history.sizes()]

    return {"off": plain, "maps": mapped(False), "all": mapped(True), "workbench": attended, "watch": watched}
