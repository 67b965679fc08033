"""The life of one request in the host, as its AlwaysVisible script."""

from __future__ import annotations

from modules import scripts

from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111 import denoiser, images, masks, photo, removal
from lib_negguide.hosts.a1111.report import answer, refuse, take_back_refusal, tell
from lib_negguide.hosts.a1111.run import ATTRIBUTE, Run, run_of
from lib_negguide.webui import accordion, dnp, gallery, infotext, request


class NegGuideScript(scripts.Script):
    """One object a tab, shared by all its generations: everything about a request is kept on ``p``."""

    def title(self):
        return request.TITLE

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        enabled, editor = accordion.build("img2img" if is_img2img else "txt2img")
        self.infotext_fields, self.paste_field_names = infotext.paste_fields(enabled, editor)
        return [enabled, editor]

    def before_process(self, p, *args):
        p.__dict__.pop(ATTRIBUTE, None)  # from an earlier turn of the same p (loopback), or its original's (X/Y/Z cell)
        take_back_refusal(p)
        infotext.remove(p)
        try:
            settings = request.settings_of(p, args)
            if settings.enabled:
                settings = masks.by_reference(images.by_reference(masks.as_in_inpainting(p, settings)))
        except NegGuideError as error:
            refuse(p, error)
            return
        if not settings.enabled:
            if request.idle_axes(p):
                tell(p, "is off: the axes of the plot change nothing. Enable it, or add the axis " + request.SWITCH)
            return
        if request.idle_removal(p, settings):
            tell(p, "removes nothing: axes of the plot say how, but nobody says what. Add the axis " + request.REMOVE)
        run = Run(p, settings)
        setattr(p, ATTRIBUTE, run)
        if settings.dnp is not None:
            try:
                dnp.prepare(p, run)
            except Exception as error:
                refuse(p, error)

    def process(self, p, *args):
        run = run_of(p)
        if run is None:
            return
        try:
            denoiser.check_model(p)
            if run.settings.dns is not None:
                denoiser.check_scale(p)
            if run.settings.remove is not None:
                removal.check(p, run.settings)
                if run.settings.remove.photo:
                    photo.prompts_without(p, run.settings.remove)
            run.settings = denoiser.settings_in_sigma(p, run.settings)
            run.images()  # what is missing is said before anything is sampled
            infotext.write(p, run)
            run.settings = removal.that_guides(p, run.settings)
        except Exception as error:
            refuse(p, error)

    def before_process_batch(self, p, *args, **kwargs):
        run = run_of(p)
        if run is None:
            return
        run.begin_batch()
        try:
            dnp.again(p, run)
        except Exception as error:
            run.error = answer(p, error)

    def process_before_every_sampling(self, p, *args, **kwargs):
        denoiser.before_sampling(p, kwargs["uc"])

    def post_sample(self, p, ps, *args):
        denoiser.after_sampling(p, ps)
        run = run_of(p)
        if run is not None and p.iteration == 0:
            infotext.write_trace(p, run.passes)
        if run is not None:
            infotext.write_removal(p, run)

    def postprocess_batch(self, p, *args, **kwargs):
        dnp.compare(p, kwargs["images"])
        run = run_of(p)
        if run is not None:
            infotext.write_captions(p, run)

    def postprocess(self, p, processed, *args):
        run = run_of(p)
        if run is not None and run.negatives is not None:
            gallery.add_negatives(p, processed, run.negatives)
