"""Image prompts in A1111: where pictures, adapters and encoders are, and pictures in the model while a pass is sampled.

The host's callback says what one model call will be asked: all rows of the prompts, then those of the negative. It may
then run the model on them at once or in parts, in this order. Hooks are put in at the first call that has pictures
and taken out when the sampler's own method ends, in whatever way.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import torch
from modules import paths_internal, shared

from lib_negguide.captioners.devices import device_of, dtype_of
from lib_negguide.errors import HostError, ModelError, NegGuideError
from lib_negguide.hosts.a1111 import interrogator, memory
from lib_negguide.hosts.a1111.report import answer, tell
from lib_negguide.hosts.a1111.samplings import around_next
from lib_negguide.image_prompt import encoder, files, injection, prompt
from lib_negguide.image_prompt.checkpoints import Adapter, NoAdapter
from lib_negguide.image_prompt.injection import Injection
from lib_negguide.image_prompt.prompt import NEGATIVE, POSITIVE, ImagePrompts
from lib_negguide.image_prompt.store import Store, referenced
from lib_negguide.settings import Settings

_store: Optional[Store] = None
spared: Callable[[], Iterable[str]] = tuple
"""Texts whose pictures are not removed when there are too many; from whoever saves such texts."""


def store() -> Store:
    """The pictures that requests and infotexts name by reference: in memory and in the data folder."""
    global _store
    folder = Path(paths_internal.data_path) / "negguide" / "images"
    if _store is None or _store.folder != folder:
        _store = Store(folder, megabytes=lambda: shared.opts.negguide_images_megabytes, spared=lambda: spared())
    return _store


def adapter_folders() -> List[Path]:
    """Where IP-Adapters lie: the user's folder, the WebUI's, ControlNet's."""
    models, asked = Path(paths_internal.models_path), shared.cmd_opts
    return _there([_users(), models / "ipadapter"], [
        models / "ControlNet", _controlnet() / "models", getattr(asked, "controlnet_dir", None),
        getattr(shared.opts, "control_net_models_path", None)])


def encoder_folders() -> List[Path]:
    """Where CLIP image encoders lie: the user's folder, the WebUI's, beside the adapters, ControlNet's."""
    models, preprocessors = Path(paths_internal.models_path), getattr(shared.cmd_opts, "controlnet_preprocessor_models_dir", None)
    return _there([_users(), models / "clip_vision"], [
        models / "ipadapter", _controlnet() / "annotator" / "downloads" / "clip_vision",
        Path(preprocessors) / "clip_vision" if preprocessors else None, *adapter_folders()])


def _users() -> Optional[Path]:
    asked = getattr(shared.opts, "negguide_image_models", "")
    return Path(asked).expanduser() if asked else None


def _controlnet() -> Path:
    return Path(paths_internal.extensions_dir) / "sd-webui-controlnet"


def _there(own: List[Optional[Path]], others: List[Any]) -> List[Path]:
    """Folders of our own, of which a message may say that something can be put there, and the others that exist."""
    existing = [Path(folder) for folder in others if folder and Path(folder).is_dir()]
    return list(dict.fromkeys([*(folder for folder in own if folder), *existing]))


def unet() -> torch.nn.Module:
    """The loaded model's."""
    return shared.sd_model.model.diffusion_model


def by_reference(settings: Settings) -> Settings:
    """Pictures put into the store, and named by reference; raises :class:`~lib_negguide.errors.SettingsError` for what is none."""
    return settings.copy(update={"images": referenced(settings.images, store())}) if settings.images else settings


def prepared(settings: Settings) -> Optional[ImagePrompts]:
    """The settings' pictures, windows in sigma, ready for the loaded model; ``None`` where none has a weight.

    Raises :class:`NegGuideError` naming what is missing or does not fit.
    """
    entries = prompt.entries(settings.images, store())
    if not entries:
        return None
    adapter = files.find(settings.adapter, unet(), adapter_folders())
    device = device_of(interrogator.device())
    memory.make_room()
    return prompt.prepare(
        entries, adapter, unet(), subtract=settings.image_subtract, image_encoder=settings.image_encoder, folders=encoder_folders(),
        device=device, dtype=dtype_of(interrogator.dtype(), device), keep=interrogator.keep())


class Acting:
    """Pictures in the model, as long as a sampler is at work."""

    KEY = "negguide_images"
    """Attribute of the sampler's model wrapper, while the host predicts: see :func:`predicted`."""

    def __init__(self) -> None:
        self._inside: Optional[Injection] = None
        self._rows: Dict[str, prompt.Row] = {}

    def begin(self, denoiser, rows: Dict[str, prompt.Row], prompts: int, pictures: int) -> None:
        """The host will predict ``prompts`` rows with the positive side's pictures, then so many with the negative side's."""
        self._rows = rows
        self._announce([rows[POSITIVE]] * prompts + [rows[NEGATIVE]] * pictures)
        setattr(denoiser.inner_model, self.KEY, self)

    def begin_branch(self, pictures: int, prompts: bool = False) -> None:
        """A text negative will be predicted in the place of the unconditional rows, or ``prompts`` beside the host's own."""
        self._announce([self._rows.get(POSITIVE if prompts else NEGATIVE, ())] * pictures)

    def end_call(self) -> None:
        """What is predicted from now on has no pictures."""
        if self._inside is not None:
            self._inside.begin(())

    def close(self) -> None:
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.__exit__()

    def _announce(self, rows: List[prompt.Row]) -> None:
        if self._inside is not None and self._inside.unet is not unet():  # the refiner has taken over
            self.close()
        if self._inside is None:
            if not any(rows):
                return
            self._inside = Injection(unet())
            self._inside.__enter__()
        self._inside.begin(rows)


@contextmanager
def acting(run) -> Iterator[None]:
    """Pictures may act inside; their hooks are gone afterwards, whatever happens."""
    run.acting = Acting()
    try:
        yield
    finally:
        acting_now, run.acting = run.acting, None
        acting_now.close()


def act_in(sampler, run, p) -> None:
    """Let the pictures of a pass act in the sampler object that is about to sample it, once."""

    def around(sample):
        try:
            with acting(run):
                return sample()
        except NegGuideError as error:  # of a hook
            run.error = answer(p, error)
            raise run.error from error

    around_next(sampler, around)


def announce(run, params, sigma: float, skips_uncond: bool) -> Tuple[float, ...]:
    """In ``on_cfg_denoiser``: say which rows of this call have which pictures; gives the strength of each picture.

    Where the host leaves out the unconditional prediction, nothing is avoided: only the positive pictures act.
    """
    images = run.current.images
    if images is None:
        return ()
    denoiser = params.denoiser
    if run.acting is None:
        raise HostError("NegGuide: image prompts cannot act: another extension samples in a way of its own")
    parts = parts_of_prompts(params, "image prompts")
    prompts, pictures = sum(parts), len(parts)
    strengths = images.strengths(sigma)
    if skips_uncond:
        images_acting = images.only(POSITIVE)
        strengths = tuple(0.0 if entry.side == NEGATIVE else s for entry, s in zip(images.entries, strengths))
        rows = images_acting.rows(sigma) if images_acting else {POSITIVE: (), NEGATIVE: ()}
        run.acting.begin(denoiser, rows, prompts, 0)
        return strengths
    if denoiser.p.cfg_scale * denoiser.cond_scale_miltiplier == 1.0 and any(entry.side == NEGATIVE for entry in images.entries):
        tell(denoiser.p, "CFG scale 1 avoids nothing, so no negative picture acts")
    run.acting.begin(denoiser, images.rows(sigma), prompts, pictures)
    return strengths


def parts_of_prompts(params, asks: str) -> List[int]:
    """In ``on_cfg_denoiser``: how many rows the prompt of each picture has at this call (several with AND).

    They come first, then one row a picture for the negative; raises :class:`HostError`, in the name of ``asks``, where it is not so.
    """
    parts = [len(conditions) for conditions in params.denoiser.sampler.sampler_extra_args["cond"].batch]
    if len(params.x) != sum(parts) + len(parts):
        raise HostError(f"NegGuide: another extension predicts {len(params.x)} rows at once where the host has {sum(parts) + len(parts)}; "
                        f"{asks} cannot tell which is which")
    return parts


def predicted(params) -> None:
    """In ``on_cfg_denoised``: the host's own predictions of this call are done."""
    now = params.inner_model.__dict__.pop(Acting.KEY, None)
    if now is not None:
        now.end_call()


# For the page and the API.


def found() -> List[Dict[str, Any]]:
    """Every IP-Adapter in the folders: what it is, and whether it fits the loaded model and has its encoder, or ``why`` not.

    The first that can be used is what "auto" takes.
    """
    rows = []
    for path in files.candidates(adapter_folders()):
        try:
            rows.append(_told(path, files.look(path)))
        except NoAdapter:
            continue
        except ModelError as error:
            rows.append(_told(path, why=str(error)))
    return rows


def _told(path: Path, adapter: Optional[Adapter] = None, why: str = "") -> Dict[str, Any]:
    row = {"adapter": path.name, "folder": str(path.parent), "kind": "", "model": "", "encoder": "", "fits": False, "usable": False,
           "why": why}
    if adapter is None:
        return row
    row.update(kind=adapter.kind, model=adapter.model)
    try:
        injection.check(adapter, unet())
        row["fits"] = True
        row["encoder"] = str(encoder.find("", adapter, encoder_folders()).path)
        row["usable"] = True
    except ModelError as error:
        row["why"] = str(error)
    return row
