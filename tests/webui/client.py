"""A host over HTTP, by webuiapi; what it answers, in a form to compare."""

import io
import time

import numpy as np
import requests
import webuiapi

DEFAULTS = dict(prompt="a portrait of a person", negative_prompt="", seed=7, steps=4, width=64, height=64, cfg_scale=5,
                sampler_name="Euler a")
SCRIPT = "NegGuide"


class Shot:
    """One answer: pictures as (H, W, 3) arrays, infotexts, NegGuide's trace."""

    def __init__(self, result):
        self.images, self.info = result.images, result.info
        self.pixels = [np.asarray(image.convert("RGB")) for image in result.images]
        self.infotexts = self.info["infotexts"]
        self.params = self.info["extra_generation_params"]

    @property
    def notes(self):
        """What NegGuide says that it could not do."""
        return self.params.get("NegGuide note", "")

    def calls(self, which="first"):
        """[{sigma, strengths, extra_evaluations}] of each model call of a pass."""
        return next(done["calls"] for done in self.params["NegGuide trace"]["passes"] if done["pass"] == which)

    def acting(self, term=0, which="first"):
        """Numbers of the calls at which a negative acted."""
        return [n for n, call in enumerate(self.calls(which)) if call["strengths"][term] > 0]


def same(left, right):
    """The same pictures, to the bit."""
    return len(left.pixels) == len(right.pixels) > 0 and all(np.array_equal(a, b) for a, b in zip(left.pixels, right.pixels))


def distance(left, right):
    """Largest difference of a pixel, 0 to 255."""
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(left.pixels, right.pixels))


class Host:
    def __init__(self, url):
        self.url, self._references = url, {}
        self.api = webuiapi.WebUIApi(baseurl=url + "/sdapi/v1", sampler="Euler a", scheduler="Automatic", steps=4)

    @staticmethod
    def scripts(negguide):
        """``alwayson_scripts`` of a request; ``None`` leaves NegGuide out, a list gives its arguments as they are."""
        if negguide is None:
            return {}
        return {SCRIPT: {"args": negguide if isinstance(negguide, list) else [negguide]}}

    def txt2img(self, negguide=None, *, more_scripts=None, **fields):
        scripts = {**self.scripts(negguide), **(more_scripts or {})}
        return Shot(self.api.txt2img(**{**DEFAULTS, **fields}, alwayson_scripts=scripts))

    def reference(self, **fields):
        """What the host makes by itself, without NegGuide's arguments; asked once for each request."""
        key = repr(sorted(fields.items()))
        if key not in self._references:
            self._references[key] = self.txt2img(**fields)
        return self._references[key]

    def img2img(self, image, negguide=None, *, more_scripts=None, **fields):
        """The real host's VAE encoder draws from the generator that the request before has seeded: let that be the same."""
        self.api.txt2img(**{**DEFAULTS, "steps": 1})
        settings = {**DEFAULTS, "denoising_strength": 0.6, "image_cfg_scale": None, **fields}
        scripts = {**self.scripts(negguide), **(more_scripts or {})}
        return Shot(self.api.img2img(images=[image], alwayson_scripts=scripts, **settings))

    def post(self, path, **body):
        return requests.post(self.url + path, json=body, timeout=300)

    def get(self, path):
        return requests.get(self.url + path, timeout=60)

    def refused(self, negguide, path="/sdapi/v1/txt2img", **fields):
        """The answer to a request that has to fail."""
        return self.post(path, **{**DEFAULTS, **fields, "alwayson_scripts": self.scripts(negguide)})

    def sampler_names(self):
        return [sampler["name"] for sampler in self.api.get_samplers()]

    def models(self):
        return [model["model_name"] for model in self.api.get_sd_models()]

    def has_script(self, name, tab="txt2img"):
        return name.lower() in self.get("/sdapi/v1/scripts").json()[tab]

    def script_info(self, name, is_img2img=False):
        infos = self.get("/sdapi/v1/script-info").json()
        return next(info for info in infos if info["name"] == name.lower() and info["is_img2img"] == is_img2img)

    def wait_for_step(self, step, timeout=60):
        """Until the running job has done this many steps."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            state = self.get("/sdapi/v1/progress?skip_current_image=true").json()["state"]
            if state["job_count"] and state["sampling_step"] >= step:
                return
            time.sleep(0.01)
        raise TimeoutError(f"no job reached step {step}")


def png(image, infotext=None):
    """A picture as PNG bytes, with an infotext."""
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    if infotext is not None:
        texts.add_text("parameters", infotext)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts)
    return file.getvalue()
