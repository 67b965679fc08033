"""Captioners in the WebUI: by its settings page, and its own BLIP among them.

Of the host's interrogator only BLIP is used: ``interrogate()`` would end the running job, ``load()`` would
also load (and fetch) CLIP, which captions do not need.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Sequence

import torch
from modules import devices, paths_internal, shared

from lib_negguide import captioners
from lib_negguide.captioners import Captioner, CaptionerError, How, Loadable, NotHere, Tick
from lib_negguide.captioners.devices import empty, let_go
from lib_negguide.captioners.files import below, digest
from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111 import memory

FOLDER = "negguide-captioners"
"""Below the WebUI's models folder, unless the settings page names another one."""
BLIP = "model_base_caption_capfilt_large.pth"
URL = "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/" + BLIP
TOKENIZER = "bert-base-uncased"


class HostBlip(Loadable):
    """``shared.interrogator``'s BLIP (Li et al., ICML 2022: the original code and checkpoint), on the host's device and in its precision.

    A host that had it loaded before keeps it, out of the card's memory; else it is gone after use.
    """

    def __init__(self, downloads: bool = False):
        self.host = getattr(shared, "interrogator", None)
        if not hasattr(self.host, "load_blip_model"):
            raise CaptionerError('NegGuide: the captioner "webui" is the WebUI\'s own BLIP interrogator, '
                                 "and this one has none; choose blip-base")
        self._ours: Optional[bool] = None
        file = _checkpoint()
        self.name = f"webui@{digest(file)[:10]}" if file else "webui" if self.host.blip_model is not None else ""
        if self.host.blip_model is None and not downloads:
            self._refuse(file)

    @staticmethod
    def _refuse(file: Optional[Path]) -> None:
        lacks = [] if file else [f"{_folder() / BLIP} ({URL})"]
        lacks += [] if _has_tokenizer() else [f"the tokenizer {TOKENIZER} in the model hub's cache (https://huggingface.co/{TOKENIZER})"]
        if lacks:
            raise NotHere('NegGuide: the captioner "webui", the WebUI\'s own BLIP interrogator, lacks ' + " and ".join(lacks)
                          + ". Interrogate CLIP in img2img fetches what is missing; or allow downloads in the settings, "
                          "or choose another captioner: blip-base, a folder, or text")

    def load(self) -> None:
        host = self.host
        if self._ours is None:
            self._ours = host.blip_model is None
        try:
            if host.blip_model is None:
                model = host.load_blip_model()
                host.blip_model = model if _no_half() or host.running_on_cpu else model.half()
            host.blip_model = host.blip_model.to(devices.device_interrogate)
            host.dtype = next(host.blip_model.parameters()).dtype
            self.name = self.name or f"webui@{digest(_checkpoint())[:10]}"
        except BaseException as error:
            self._failed(error, "could not be loaded; choose another captioner, for example blip-base")

    def caption(self, images: Sequence, how: How = How()) -> List[str]:
        said = []
        try:
            with _lengths(self.host.blip_model, how):
                for image in images:
                    if self.tick:
                        self.tick()
                    said.append(self.host.generate_caption(image.convert("RGB")).strip())
        except BaseException as error:
            self._failed(error, "failed")
        return said

    def _failed(self, error: BaseException, what: str) -> NoReturn:
        """Give all memory back, then raise; what a tick raises goes on as it is."""
        self.close()
        let_go(error)
        devices.torch_gc()
        if not isinstance(error, Exception) or isinstance(error, NegGuideError):
            raise error
        raise CaptionerError(f"NegGuide: the WebUI's own BLIP {what}: {type(error).__name__}: {error}") from error

    def rest(self) -> None:
        self.host.send_blip_to_ram()
        devices.torch_gc()

    def close(self) -> None:
        if self._ours:
            model, self.host.blip_model = self.host.blip_model, None
            empty(model)
        elif self._ours is not None:
            self.host.send_blip_to_ram()
        self._ours = None
        devices.torch_gc()


@contextmanager
def _lengths(model: Any, how: How) -> Iterator[None]:
    """The host reads beams and lengths from its options; here the model's ``generate`` gets ours, its options stay.

    BLIP's lengths count the start of the sentence ("a picture of") too.
    """
    start = getattr(model, "prompt_length", 0)
    ours: Dict[str, int] = {}
    for name, value in (("num_beams", how.beams), ("min_length", how.min_tokens), ("max_length", how.max_tokens)):
        if value is not None:
            ours[name] = value + (0 if name == "num_beams" else start)
    with ExitStack() as wrapped:
        original = wrapped.enter_context(_wrapped(model, lambda *args, **kwargs: original(*args, **{**kwargs, **ours})))
        decoder = getattr(model, "text_decoder", None)
        if decoder is not None and _repeats(decoder):
            decode = wrapped.enter_context(_wrapped(decoder, lambda *args, **kwargs: decode(*args, **_once(kwargs))))
        yield


@contextmanager
def _wrapped(model: Any, generate: Callable) -> Iterator[Callable]:
    """``generate`` in the place of the model's own, which is given."""
    original = model.generate
    model.generate = generate
    try:
        yield original
    finally:
        del model.generate


def _repeats(decoder: Any) -> bool:
    """Whether this transformers repeats the picture's features for each beam by itself (as of 4.26).

    BLIP's own code, which is older, has repeated them before: more than one beam fails then.
    """
    try:
        _, given = decoder._expand_inputs_for_generation(
            expand_size=2, is_encoder_decoder=False, input_ids=torch.ones(1, 1, dtype=torch.long),
            encoder_hidden_states=torch.ones(1, 1, 1))
        return given["encoder_hidden_states"].shape[0] == 2
    except (AttributeError, KeyError, TypeError):
        return False


def _once(kwargs: Dict[str, Any]) -> Dict[str, Any]:
    """What BLIP's code gives to its decoder, with the features of each picture once, not once a beam."""
    beams = kwargs.get("num_beams") or 1
    return {key: value[::beams] if key in ("encoder_hidden_states", "encoder_attention_mask") else value for key, value in kwargs.items()}


def _folder() -> Path:
    return Path(paths_internal.models_path) / "BLIP"


def _checkpoint() -> Optional[Path]:
    """The file that the host will take: the first of its kind in its folder."""
    folder = _folder()
    return next((path for path in sorted(folder.rglob("*.pth")) if path.is_file()), None) if folder.is_dir() else None


def _has_tokenizer() -> bool:
    from huggingface_hub import try_to_load_from_cache

    return Path(TOKENIZER).is_dir() or isinstance(try_to_load_from_cache(TOKENIZER, "vocab.txt"), str)


# What the settings page says.


def folder() -> Path:
    """Where captioners lie: each a folder of its own."""
    return Path(shared.opts.negguide_captioners or Path(paths_internal.models_path) / FOLDER)


def folders() -> List[str]:
    """Names of the captioners there."""
    return below(folder())


def keep() -> str:
    """What becomes of a captioner after use; where the card's memory is scarce none stays on it."""
    asked = shared.opts.negguide_captioner_keep
    return "cpu" if asked == "loaded" and memory.scarce() else asked


def device() -> Any:
    asked = shared.opts.negguide_captioner_device
    return devices.device_interrogate if asked in (None, "", "auto") else asked


def _no_half() -> bool:
    return bool(getattr(shared.cmd_opts, "no_half", False))


def dtype() -> Any:
    """A name of :data:`~lib_negguide.captioners.devices.DTYPES`, or a torch.dtype."""
    asked = shared.opts.negguide_captioner_precision
    return torch.float32 if asked == "auto" and _no_half() else asked


def _where(dnp, downloads: bool) -> Dict[str, Any]:
    return {"text": dnp.text, "device": device(), "dtype": dtype(), "folder": folder(), "downloads": downloads,
            "extra": {captioners.HOST: lambda: HostBlip(downloads)}}


def check(dnp) -> None:
    """Raises :class:`~lib_negguide.errors.NegGuideError` if ``dnp.captioner`` cannot be had; loads and fetches nothing."""
    allowed = bool(shared.opts.negguide_captioner_downloads)
    captioners.check(dnp.captioner, **{**_where(dnp, allowed), "downloads": allowed})


def name_of(dnp) -> str:
    """The name that the captioner will have; "" while it is not here."""
    return captioners.name_of(dnp.captioner, **_where(dnp, False))


@contextmanager
def opened(dnp, tick: Optional[Tick] = None) -> Iterator[Captioner]:
    """``dnp.captioner``, loaded as the settings page says, with room made for it; put away on leaving."""
    if dnp.captioner != "text":
        memory.make_room()
    where = _where(dnp, bool(shared.opts.negguide_captioner_downloads))
    with captioners.opened(dnp.captioner, **where, keep=keep(), tick=tick) as captioner:
        yield captioner
