"""The HTTP API, /sdapi/v1."""

import base64
import io
import os
from contextlib import closing
from pathlib import Path

import gradio as gr
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import errors, images, infotext_utils, processing, script_callbacks, scripts, sd_models, sd_samplers, sd_schedulers, shared
from modules.api import models
from PIL import Image, PngImagePlugin


def encode(image):
    """PNG with its texts, in base 64."""
    texts = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str):
            texts.add_text(key, value)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts)
    return base64.b64encode(file.getvalue()).decode()


def decode_base64_to_image(text):
    """Of addresses the real host takes those outside its own network, the stand-in none."""
    if text.startswith(("http://", "https://")):
        raise HTTPException(status_code=500, detail="Request to local resource not allowed")
    try:
        return Image.open(io.BytesIO(base64.b64decode(text.split(";base64,")[-1])))
    except Exception:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from None


def _answer(request, error):
    """Every exception as JSON; one with a status of its own keeps it."""
    own = vars(error)
    if not isinstance(error, HTTPException):
        errors.report(f"API error: {request.method}: {request.url}", exc_info=True)
    return JSONResponse(status_code=own.get("status_code", 500), content={
        "error": type(error).__name__, "detail": own.get("detail", ""), "body": str(own.get("body", "")), "errors": str(error)})


def _known(credentials: HTTPBasicCredentials = Depends(HTTPBasic())):
    if f"{credentials.username}:{credentials.password}" not in shared.cmd_opts.api_auth.split(","):
        raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})


def memory():
    """Bytes of main memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"ram": {"used": pages * os.sysconf("SC_PAGE_SIZE")}}


class Api:
    def __init__(self, app: FastAPI, queue_lock):
        self.queue_lock = queue_lock

        @app.middleware("http")
        async def no_bare_exceptions(request: Request, call_next):
            try:
                return await call_next(request)
            except Exception as error:
                return _answer(request, error)

        @app.exception_handler(HTTPException)
        async def http_exception(request: Request, error: HTTPException):
            return _answer(request, error)

        guard = [Depends(_known)] if shared.cmd_opts.api_auth else []
        for path, endpoint in (("txt2img", self.txt2img), ("img2img", self.img2img), ("png-info", self.png_info),
                               ("interrupt", self.interrupt), ("skip", shared.state.skip), ("options", self.set_options)):
            app.add_api_route("/sdapi/v1/" + path, endpoint, methods=["POST"], dependencies=guard)
        for path, endpoint in (("progress", self.progress), ("options", lambda: shared.opts.data), ("samplers", self.samplers),
                               ("schedulers", self.schedulers), ("sd-models", self.sd_models), ("scripts", self.scripts),
                               ("script-info", self.script_info), ("cmd-flags", lambda: vars(shared.cmd_opts)),
                               ("memory", memory), ("upscalers", lambda: []), ("prompt-styles", lambda: list(shared.prompt_styles.styles.values())),
                               ("latent-upscale-modes", lambda: [{"name": name} for name in shared.latent_upscale_modes])):
            app.add_api_route("/sdapi/v1/" + path, endpoint, methods=["GET"], dependencies=guard)
        self.defaults = {runner: self._default_args(runner) for runner in (scripts.scripts_txt2img, scripts.scripts_img2img)}

    def _default_args(self, runner):
        """What scripts get where a request gives nothing; asks every script for its components twice more."""
        args = [0] + [None] * (max(script.args_to for script in runner.scripts) - 1)
        with gr.Blocks():
            for script in runner.scripts:
                if script.ui(script.is_img2img):
                    args[script.args_from:script.args_to] = [component.value for component in script.ui(script.is_img2img)]
        return args

    def _script_args(self, request, runner, selected, from_infotext):
        args = list(self.defaults[runner])
        for index, value in from_infotext.items():
            args[index] = value
        if selected is not None:
            args[selected.args_from:selected.args_to] = request.script_args
            args[0] = runner.selectable_scripts.index(selected) + 1
        for name, given in (request.alwayson_scripts or {}).items():
            script = self._named(name, runner.scripts)
            if not script.alwayson:
                raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
            values = given.get("args", [])[:script.args_to - script.args_from]  # too many are ignored
            args[script.args_from:script.args_from + len(values)] = values
        return args

    @staticmethod
    def _named(name, listed):
        found = next((script for script in listed if script.title().lower() == name.lower()), None)
        if found is None:
            raise HTTPException(422, f"Script '{name}' not found")
        return found

    @staticmethod
    def _apply_infotext(request, tab, runner):
        """Fields that the request leaves out, from its ``infotext``; returns scripts' arguments by index."""
        if not request.infotext:
            return {}
        params = infotext_utils.parse_generation_parameters(request.infotext)
        by_index = {}
        for field in infotext_utils.paste_fields[tab]["fields"]:
            value = field.function(params) if field.function else params.get(field.label)
            if isinstance(value, dict) and value.get("__type__") == "generic_update":
                value = value.get("value")
            if value is None:
                continue
            if field.api in request.__fields__:
                if field.api not in request.__fields_set__:
                    setattr(request, field.api, request.__fields__[field.api].type_(value))
            elif field.component in runner.inputs:
                kind = type(field.component.value)
                by_index[runner.inputs.index(field.component)] = value if kind is type(None) else kind(value)
        request.override_settings = request.override_settings or {}
        for _, name, value in infotext_utils.get_override_settings(params):
            request.override_settings.setdefault(name, value)
        return by_index

    def _run(self, request, tab, runner, kind, **more):
        from_infotext = self._apply_infotext(request, tab, runner)
        selected = self._named(request.script_name, runner.selectable_scripts) if request.script_name else None
        name, scheduler = sd_samplers.get_sampler_and_scheduler(request.sampler_name or request.sampler_index, request.scheduler)
        fields = {key: value for key, value in vars(request).items() if key not in models.NOT_FOR_PROCESSING}
        fields.update(more, sampler_name=name, scheduler=request.scheduler or (scheduler if scheduler != "Automatic" else None),
                      do_not_save_samples=True, do_not_save_grid=True)
        args = self._script_args(request, runner, selected, from_infotext)
        with self.queue_lock, closing(kind(sd_model=shared.sd_model, **fields)) as p:
            p.is_api, p.scripts = True, runner
            try:
                shared.state.begin("scripts_" + tab)
                p.script_args = tuple(args)
                processed = runner.run(p, *args) if selected is not None else processing.process_images(p)
            finally:
                shared.state.end()
        pictures = [encode(image) for image in processed.images] if request.send_images else []
        return {"images": pictures, "parameters": {key: value for key, value in vars(request).items() if key not in ("init_images", "mask")},
                "info": processed.js()}

    def txt2img(self, request: models.Txt2Img):
        return self._run(request, "txt2img", scripts.scripts_txt2img, processing.StableDiffusionProcessingTxt2Img)

    def img2img(self, request: models.Img2Img):
        if request.init_images is None:
            raise HTTPException(404, "Init image not found")
        return self._run(request, "img2img", scripts.scripts_img2img, processing.StableDiffusionProcessingImg2Img,
                         init_images=[decode_base64_to_image(text) for text in request.init_images],
                         mask=decode_base64_to_image(request.mask) if request.mask else None)

    def png_info(self, request: models.PNGInfo):
        infotext, items = images.read_info_from_image(decode_base64_to_image(request.image))
        params = infotext_utils.parse_generation_parameters(infotext or "")
        script_callbacks.infotext_pasted_callback(infotext, params)
        return {"info": infotext or "", "items": items, "parameters": params}

    def interrupt(self):
        shared.state.interrupt()
        return {}

    def set_options(self, options: dict = Body()):
        for key, value in options.items():
            shared.opts.set(key, value, is_api=True)
        shared.opts.save(shared.config_filename)

    def progress(self, skip_current_image: bool = False):
        state = shared.state
        image = None
        if state.job_count and not skip_current_image:
            state.set_current_image()
            image = encode(state.current_image) if state.current_image is not None else None
        done = 0.0
        if state.job_count > 0:
            done = 0.01 + state.job_no / state.job_count
            if state.sampling_steps:
                done += state.sampling_step / state.sampling_steps / state.job_count
        return {"progress": min(done, 1.0), "eta_relative": 0.0, "state": state.dict(), "current_image": image, "textinfo": state.textinfo}

    def samplers(self):
        return [{"name": name, "aliases": aliases, "options": {key: str(value) for key, value in options.items()}}
                for name, _, aliases, options in sd_samplers.all_samplers]

    def schedulers(self):
        return [{"name": s.name, "label": s.label, "aliases": s.aliases, "default_rho": s.default_rho,
                 "need_inner_model": s.need_inner_model} for s in sd_schedulers.schedulers]

    def sd_models(self):
        return [{"title": info.title, "model_name": info.model_name, "hash": info.shorthash, "sha256": info.sha256,
                 "filename": info.filename, "config": None} for info in sd_models.checkpoints_list.values()]

    def scripts(self):
        return {tab: [script.name for script in runner.scripts if script.name]
                for tab, runner in (("txt2img", scripts.scripts_txt2img), ("img2img", scripts.scripts_img2img))}

    def script_info(self):
        return [vars(script.api_info) for runner in (scripts.scripts_txt2img, scripts.scripts_img2img)
                for script in runner.scripts if script.api_info]
