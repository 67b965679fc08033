"""Pictures as prompts inside the WebUI: as the embedded host makes them, and gone without a trace."""

import base64
import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.image_prompt import prompt
from lib_negguide.image_prompt.store import Store
from lib_negguide.settings import Settings
from tests import adapters
from tests.webui.client import DEFAULTS, distance, png, same
from tests.webui.test_failures import in_background
from tests.webui.test_host_scripts import axis_types
from tests.webui.test_img2img import mask, start_image
from tests.webui.test_interrogator import inside  # noqa: F401
from tests.world.draw import draw

ROOT = "/negguide/v1"
LONG = ", ".join(["a portrait of a person with glasses and a hat"] * 12)


def as_text(image):
    return base64.b64encode(png(image)).decode()


SHOWN = as_text(draw("picture 3")[0])
OTHER = as_text(draw("picture 8")[0])
NEGATIVE = {"image": SHOWN, "name": "shown.png"}
POSITIVE = {"image": OTHER, "side": "positive"}
WINDOW = {"start": 5.8, "stop": 1.0, "weight": 0.7}
BOTH = [{**NEGATIVE, **WINDOW}, {**POSITIVE, "curve": "linear down"}]


@pytest.fixture(scope="module", autouse=True)
def models(host):
    """The small adapter and encoder where users put theirs: an IP-Adapter that the host finds and can use."""
    if host.get(ROOT + "/version").json()["host"] != "a1111":
        pytest.skip("image prompts act in AUTOMATIC1111")
    host.txt2img()  # the model before may have been another one
    told = host.get(ROOT + "/adapters").json()
    folders = [Path(told["folders"][name][0]) for name in ("adapters", "encoders")]
    if not any(row["usable"] for row in told["adapters"]):
        if not folders[0].parent.parent.is_dir():
            pytest.skip(f"this host is on another machine and has no IP-Adapter in {folders[0]}")
        for folder, source in zip(folders, (world.adapter(), world.image_encoder())):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / source.name).symlink_to(source)
    return folders


@pytest.fixture(scope="module")
def embedded(request):
    return EmbeddedHost.load(request.config.getoption("--standin-model") or world.model())


@pytest.fixture
def no_hooks_stay(host):
    yield
    if host.has_script("Saboteur"):
        assert host.get("/saboteur/seen").json()["hooks"] == 0


def check(host, embedded, settings, **changes):
    """The host's picture is the embedded host's, to one level of 255, and its trace is that run's."""
    fields = {**DEFAULTS, "steps": 8, "cfg_scale": 4, "sampler_name": "Euler", **changes}
    if fields["sampler_name"] == "DDIM":
        fields["eta"] = 0
    shot = host.txt2img(settings, **fields)
    parsed = Settings.parse(settings)
    images = prompt.prepare(prompt.entries(parsed.images, Store()), world.adapter(), embedded.model.unet,
                            subtract=parsed.image_subtract, image_encoder=str(world.image_encoder()))
    result = embedded.sample([fields["prompt"]], [fields["seed"]], parsed, images=images, negative_prompts=fields["negative_prompt"],
                             steps=fields["steps"], cfg_scale=fields["cfg_scale"], size=(64, 64), sampler=fields["sampler_name"])
    assert np.abs(shot.pixels[0].astype(int) - np.asarray(result.pil()[0])).max() <= 1
    assert [call["strengths"] for call in shot.calls()] == [pytest.approx(call.strengths, abs=1e-3) for call in result.trace.calls]
    assert distance(shot, host.reference(**fields)) > 16, "the pictures do nothing: this test could not fail"
    return shot


SIDES = {"negative": [NEGATIVE], "positive": [POSITIVE], "both": BOTH, "noise": [{"noise": "gaussian", "amount": 1, "side": "positive", "weight": 2}]}


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("texts", [("a portrait of a person", "hat"), ("", "")], ids=["text", "no text"])
def test_as_the_embedded_host(host, embedded, sides, texts, no_hooks_stay):
    check(host, embedded, {"images": SIDES[sides]}, prompt=texts[0], negative_prompt=texts[1])


def test_subtracted_as_the_embedded_host(host, embedded):
    images = [{**NEGATIVE, "start": 5.8}, POSITIVE]
    shot = check(host, embedded, {"images": images, "image_subtract": 0.75}, prompt="")
    assert json.loads(shot.params["NegGuide schedule"])["image_subtract"] == 0.75


@pytest.mark.parametrize("sampler", ["Heun", "DDIM", "Euler a", "DPM++ 2M"])
def test_samplers(host, embedded, sampler):
    check(host, embedded, {"images": BOTH}, sampler_name=sampler)


@pytest.mark.parametrize("combine", ["join", "branches", "perp-neg"])
def test_beside_text_negatives(host, embedded, combine):
    """A negative that is a branch of its own is predicted in the unconditional place, with its pictures."""
    settings = {"negatives": [{"text": "glasses", "start": 5.8, "stop": 1.6}], "combine": combine, "images": BOTH}
    check(host, embedded, settings, negative_prompt="mustache")


@pytest.mark.parametrize("fields", [{"negative_prompt": LONG}, {"negative_prompt": LONG, "prompt": LONG}, {"prompt": LONG}], ids=["negative", "both", "prompt"])
def test_unequal_token_counts(host, embedded, fields):
    """The host runs the model twice then, or once."""
    check(host, embedded, {"images": BOTH}, **fields)


@pytest.mark.parametrize("options", [{"batch_cond_uncond": False}, {"pad_cond_uncond": True}, {"pad_cond_uncond_v0": True}], ids=str)
@pytest.mark.parametrize("text", ["a portrait of a person", "a portrait of a person AND a hat :0.5 AND glasses :0.3"], ids=["plain", "AND"])
def test_rows_in_other_forwards(host, options, text):
    """However the host cuts its rows."""
    fields = {"prompt": text, "negative_prompt": "mustache", "batch_size": 2}
    whole = host.txt2img({"images": BOTH}, **fields)
    parts = host.txt2img({"images": BOTH}, override_settings=options, **fields)
    assert distance(whole, parts) <= 1 and distance(whole, host.reference(**fields)) > 16
    if "pad_cond_uncond_v0" in options:
        return
    long = {**fields, "negative_prompt": LONG}
    unequal = host.txt2img({"images": BOTH}, **long)
    assert distance(unequal, host.reference(**long)) > 16
    if "batch_cond_uncond" in options:
        assert distance(unequal, host.txt2img({"images": BOTH}, override_settings=options, **long)) <= 1


def test_batches(host):
    """A picture does not depend on its neighbours."""
    shot = host.txt2img({"images": BOTH}, batch_size=2, n_iter=2)
    for n, pixels in enumerate(shot.pixels[-4:]):
        alone = host.txt2img({"images": BOTH}, seed=DEFAULTS["seed"] + n).pixels[0]
        assert np.abs(pixels.astype(int) - alone).max() <= 1


def test_and(host):
    """Every part of a prompt has the positive side's pictures: one of no weight changes nothing."""
    one = host.txt2img({"images": BOTH}, prompt="a portrait of a person")
    assert distance(one, host.txt2img({"images": BOTH}, prompt="a portrait of a person AND a hat :0")) <= 1
    assert not same(one, host.txt2img({"images": BOTH}, prompt="a portrait of a person AND a hat :0.8"))


# Nothing at all.


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
@pytest.mark.parametrize("images", [[], [{**NEGATIVE, "weight": 0}], [{**POSITIVE, "weight": 0}], [{**NEGATIVE, "start": 1e-4}]],
                         ids=["none", "negative of weight 0", "positive of weight 0", "outside every window"])
def test_nothing_to_the_bit(host, sampler, images, no_hooks_stay):
    own = host.reference(negative_prompt="hat", sampler_name=sampler)
    assert same(host.txt2img({"images": images}, negative_prompt="hat", sampler_name=sampler), own)


def test_disabled(host):
    assert same(host.txt2img({"enabled": False, "images": BOTH}), host.reference())


def test_window(host):
    """Calls, and pictures, as long as the window is open: cut after it, the run is the host's own."""
    shot = host.txt2img({"images": [{**NEGATIVE, "start": 5.8, "stop": 1.0}]}, steps=8)
    assert shot.acting() == [n for n, call in enumerate(shot.calls()) if 1.0 < call["sigma"] <= 5.8] != []
    by_steps = {"images": [{**NEGATIVE, "start": shot.acting()[0], "stop": shot.acting()[-1] + 1, "unit": "step"}]}
    assert same(host.txt2img(by_steps, steps=8), shot)
    kept = json.loads(host.txt2img(by_steps, steps=8).params["NegGuide schedule"])["images"][0]
    assert "unit" not in kept and kept["start"] > kept["stop"]


def test_a_window_that_nothing_falls_into_is_said(host):
    assert '"negative picture shown.png" did not act' in host.txt2img({"images": [{**NEGATIVE, "start": 1e-4}]}).notes


def test_cfg_1_avoids_nothing(host):
    shot = host.txt2img({"images": [NEGATIVE]}, cfg_scale=1)
    assert "so no negative picture acts" in shot.notes


@pytest.mark.parametrize("options", [{"skip_early_cond": 1.0}, {"s_min_uncond": 100.0, "s_min_uncond_all": True}], ids=str)
def test_where_the_host_skips_the_negative(host, options):
    """Nothing is avoided there; a positive picture still acts."""
    own = host.reference(override_settings=options)
    shot = host.txt2img({"images": [NEGATIVE]}, override_settings=options)
    assert same(shot, own) and shot.acting() == []
    positive = host.txt2img({"images": BOTH}, override_settings=options)
    assert positive.acting(0) == [] and len(positive.acting(1)) >= 3 and not same(positive, own)


# Other requests.


def test_hires(host, no_hooks_stay):
    """Acts in both passes, by the same window."""
    fields = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 4, "denoising_strength": 0.7}
    shot = host.txt2img({"images": [{**NEGATIVE, "start": 5.8, "stop": 0.3}, POSITIVE]}, **fields)
    assert distance(shot, host.reference(**fields)) > 16
    for which in ("first", "hires"):
        assert shot.acting(0, which) == [n for n, call in enumerate(shot.calls(which)) if 0.3 < call["sigma"] <= 5.8] != []
        assert shot.acting(1, which) == list(range(len(shot.calls(which))))
    late = host.txt2img({"images": [{**NEGATIVE, "stop": shot.calls("hires")[0]["sigma"]}]}, **fields)
    assert late.acting(0, "first") and not late.acting(0, "hires")


@pytest.mark.parametrize("fields", [{}, {"mask_image": mask()}, {"n_iter": 2}, {"sampler_name": "DDIM"}], ids=["plain", "mask", "batches", "DDIM"])
def test_img2img(host, fields, no_hooks_stay):
    own = host.img2img(start_image(), **fields)
    shot = host.img2img(start_image(), {"images": BOTH}, **fields)
    assert distance(shot, own) > 3
    assert same(host.img2img(start_image(), {"images": [{**NEGATIVE, "weight": 0}]}, **fields), own)
    assert same(host.img2img(start_image(), {"images": BOTH}, **fields), shot)


@pytest.mark.parametrize("fields", [{}, {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 60, "steps": 1}], ids=["first", "hires"])
@pytest.mark.parametrize("end", ["interrupt", "skip"])
def test_ended_by_the_user(host, fields, end, no_hooks_stay):
    before = host.txt2img()
    waiting = in_background(host.txt2img, {"images": BOTH}, **{"steps": 80, **fields})
    host.wait_for_step(5)
    getattr(host.api, end)()
    assert waiting().pixels
    assert same(host.txt2img(), before)


@pytest.fixture
def saboteur(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")


@pytest.mark.parametrize("place, countdown", [("GuidancePlan.at", 0), ("GuidancePlan.at", 3), ("GuidancePlan.build", 0)])
def test_an_exception_inside(host, saboteur, place, countdown, no_hooks_stay):
    before = host.txt2img()
    body = {**DEFAULTS, "steps": 6, "alwayson_scripts": {**host.scripts({"images": BOTH}), "Saboteur": {"args": [place, countdown]}}}
    assert host.post("/sdapi/v1/txt2img", **body).status_code == 500
    assert same(host.txt2img(), before)


def test_beside_another_attention(host, saboteur, no_hooks_stay):
    """Another extension's forward in each layer, as ControlNet's IP-Adapter puts one there."""
    other = {"Saboteur": {"args": ["attention", 0]}}
    assert distance(host.txt2img({"images": BOTH}), host.txt2img({"images": BOTH}, more_scripts=other)) <= 2


def test_an_attention_that_hides_is_said(host, saboteur, no_hooks_stay):
    body = {**DEFAULTS, "alwayson_scripts": {**host.scripts({"images": BOTH}), "Saboteur": {"args": ["attention", 1]}}}
    answer = host.post("/sdapi/v1/txt2img", **body)
    assert answer.status_code == 422 and "another extension has replaced its attention layers" in answer.text
    assert host.txt2img({"images": BOTH}).pixels


def test_auto_dnp_has_no_pictures_in_its_own(host, saboteur, no_hooks_stay):
    """The diffusion-negative picture is of the text alone."""
    dnp = {"dnp": {"captioner": "colours"}}
    shots = [host.txt2img({**dnp, "images": images}) for images in ([], [NEGATIVE])]
    captions = [shot.params["NegGuide DNP"]["pictures"][0]["caption"] for shot in shots]
    assert captions[0] == captions[1] and not same(*shots)


# What cannot be.


def refusal(host, image, **settings):
    answer = host.refused({"images": [image], **settings})
    assert answer.status_code == 422 and "images" not in answer.json(), answer.text
    return answer.json()["detail"]


def test_what_is_no_picture_is_refused(host):
    assert "images[0].image" in refusal(host, {"image": "bm8gcGljdHVyZQ=="})
    assert "noise alone" in refusal(host, {"name": "x"})
    gone = refusal(host, {"image": "sha256:" + 64 * "0", "name": "holiday.png"})
    assert "holiday.png" in gone and "choose its file again" in gone


def test_missing_files_are_named(host):
    assert "there is no IP-Adapter nowhere" in refusal(host, NEGATIVE, adapter="nowhere")
    assert "there is no image encoder nowhere" in refusal(host, NEGATIVE, image_encoder="nowhere")
    assert same(host.txt2img({"images": [{**NEGATIVE, "weight": 0}], "adapter": "nowhere"}), host.reference())


def test_a_model_without_an_adapter(host, no_hooks_stay):
    names = [name for name in host.models() if "sdxl" in name.lower()]
    if not names:
        pytest.skip("this host has no other model")
    answer = host.refused({"images": [NEGATIVE]}, override_settings={"sd_model_checkpoint": names[0]})
    assert answer.status_code == 422 and "there is no IP-Adapter for" in answer.text and "ipadapter" in answer.text
    named = host.refused({"images": [NEGATIVE], "adapter": world.adapter().name}, override_settings={"sd_model_checkpoint": names[0]})
    assert named.status_code == 422 and "is made for a model of cross-attention width 64" in named.text


def test_sdxl(host, models, no_hooks_stay):
    """An adapter of random weights for the host's SDXL-shaped model: "auto" takes it there, and the other one for the other model."""
    files = {model["model_name"]: Path(model["filename"]) for model in host.get("/sdapi/v1/sd-models").json()}
    name = next((name for name in files if "sdxl" in name.lower()), None)
    if name is None or not files[name].is_file():
        pytest.skip("this host has no SDXL model here")
    order = {"input_blocks": 0, "output_blocks": 1, "middle_block": 2}
    layers = {}
    with safe_open(str(files[name]), "pt") as checkpoint:
        for key in checkpoint.keys():
            parts = key.split(".")
            if key.startswith("model.diffusion_model.") and key.endswith("attn2.to_k.weight"):
                layers[(order[parts[2]], *(int(part) for part in parts if part.isdigit()))] = checkpoint.get_slice(key).get_shape()
    torch.manual_seed(0)
    inner = [shape[0] for _, shape in sorted(layers.items())]
    nested = adapters.checkpoint("base", inner, next(iter(layers.values()))[1], feature=96)
    nested["ip_adapter"] = {key: 4 * value for key, value in nested["ip_adapter"].items()}
    file = adapters.write(nested, models[0] / "for-sdxl.safetensors")
    try:
        fields = {"override_settings": {"sd_model_checkpoint": name}}
        for more in ({}, {"batch_size": 2, "prompt": "a AND b :0.5"}, {"negative_prompt": LONG}, {"sampler_name": "DDIM"}):
            own = host.reference(**fields, **more)
            assert not same(host.txt2img({"images": BOTH}, **fields, **more), own)
            assert same(host.txt2img({"images": [{**NEGATIVE, "weight": 0}]}, **fields, **more), own)
        assert host.get(ROOT + "/adapters").json()["auto"] == file.name
        assert host.txt2img({"images": BOTH}).pixels
        assert host.get(ROOT + "/adapters").json()["auto"] == world.adapter().name
    finally:
        file.unlink()


def test_a_refiner_that_the_adapter_does_not_fit(host, no_hooks_stay):
    names = [name for name in host.models() if "refiner" in name.lower()]
    if not names:
        pytest.skip("this host has no refiner")
    before = host.txt2img({"images": BOTH})
    answer = host.refused({"images": BOTH}, steps=8, refiner_checkpoint=names[0], refiner_switch_at=0.5)
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 422:
        assert "there is no IP-Adapter for" in answer.text
    else:
        plain = host.refused(None, steps=8, refiner_checkpoint=names[0], refiner_switch_at=0.5)
        assert answer.json()["images"] != plain.json()["images"]
    assert same(host.txt2img({"images": BOTH}), before)


def test_dns_has_no_pictures(host):
    assert "images" in refusal(host, NEGATIVE, dns={})


# References, infotext, endpoints.


def test_a_reference_is_the_picture(host):
    stored = host.post(ROOT + "/images", image="data:image/png;base64," + SHOWN).json()
    assert stored["image"].startswith("sha256:") and (stored["width"], stored["height"]) == (64, 64)
    assert same(host.txt2img({"images": [{"image": stored["image"]}]}), host.txt2img({"images": [{"image": SHOWN}]}))
    for name in (stored["image"], stored["image"][len("sha256:"):]):
        answer = host.get(f"{ROOT}/images/{name}")
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).tobytes() == draw("picture 3")[0].convert("RGB").tobytes()
    assert host.get(ROOT + "/images/" + 64 * "0").status_code == 404
    assert host.get(ROOT + "/images/..%2f..%2fconfig.json").status_code == 404


@pytest.mark.parametrize("image", ["bm8gcGljdHVyZQ==", "not base64!", "data:image/png;base64", 3, None])
def test_only_pictures_are_kept(host, image):
    answer = host.post(ROOT + "/images", image=image)
    assert answer.status_code == 422 and "image" in answer.text


def test_the_infotext_brings_the_picture_back(host):
    shot = host.txt2img({"images": BOTH}, negative_prompt="hat")
    text = shot.infotexts[0]
    assert SHOWN[:40] not in text and len(text) < 1200
    kept = json.loads(shot.params["NegGuide schedule"])["images"]
    assert [image["image"][:7] for image in kept] == ["sha256:", "sha256:"] and kept[0]["name"] == "shown.png"
    assert same(host.txt2img({"images": kept}, negative_prompt="hat"), shot)
    again = host.post("/sdapi/v1/txt2img", infotext=text)
    assert json.loads(again.json()["info"])["infotexts"] == shot.infotexts


def test_presets_keep_references(host):
    assert host.post(ROOT + "/presets", name="with a picture", settings={"images": [NEGATIVE]}).status_code == 200
    try:
        saved = host.get(ROOT + "/presets").json()["saved"]["with a picture"]
        assert saved["images"][0]["image"].startswith("sha256:")
        assert same(host.txt2img(saved), host.txt2img({"images": [NEGATIVE]}))
    finally:
        requests.delete(host.url + ROOT + "/presets/with a picture", timeout=60)


@pytest.mark.parametrize("axis, values", [("Image weight", ["0", "1.5"]), ("Image start", ["5.8", "none"]), ("Image stop", ["1.0", "none"])])
def test_axes(host, axis, values):
    number = axis_types(host).index("[NegGuide] " + axis)
    args = [number, ", ".join(values), [], 0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    settings = {"negatives": [{"text": "hat"}], "images": [NEGATIVE]}
    shot = host.txt2img(settings, script_name="x/y/z plot", script_args=args)
    field = axis.split()[1]
    for value, cell in zip(values, shot.pixels[-2:]):
        single = host.txt2img({**settings, "images": [{**NEGATIVE, field: None if value == "none" else float(value)}]})
        assert (cell == single.pixels[0]).all(), value


def test_axis_of_what_is_subtracted(host):
    number = axis_types(host).index("[NegGuide] Image subtract")
    args = [number, "0, 0.75", [], 0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    shot = host.txt2img({"images": BOTH}, script_name="x/y/z plot", script_args=args)
    singles = [host.txt2img({"images": BOTH, "image_subtract": value}) for value in (0.0, 0.75)]
    for cell, single in zip(shot.pixels[-2:], singles):
        assert (cell == single.pixels[0]).all()
    assert not same(*singles) and same(singles[0], host.txt2img({"images": BOTH}))


def test_a_pickled_adapter(host, models):
    """As most of them are published; the host's own guard reads along."""
    file = models[0] / "pickled.bin"
    nested = {}
    for key, value in load_file(str(world.adapter())).items():
        group, name = key.split(".", 1)
        nested.setdefault(group, {})[name] = value
    torch.save(nested, str(file), _use_new_zipfile_serialization=False)
    guarded = models[0] / "guarded.bin"
    torch.save({"code": pytest.raises}, str(guarded), _use_new_zipfile_serialization=False)
    try:
        answer = refusal(host, NEGATIVE, adapter=guarded.name)
        assert "guarded.bin cannot be read as weights" in answer
        assert same(host.txt2img({"images": BOTH, "adapter": file.name}), host.txt2img({"images": BOTH}))
    finally:
        file.unlink()
        guarded.unlink()


def test_adapters_are_listed(host, models):
    host.txt2img()  # the model before may have been another one
    told = host.get(ROOT + "/adapters").json()
    row = next(row for row in told["adapters"] if row["adapter"] == world.adapter().name)
    assert (row["kind"], row["fits"], row["usable"], row["why"]) == ("base", True, True, "")
    assert told["auto"] == row["adapter"] and "image_encoder" in row["encoder"]
    broken = models[0] / "broken.safetensors"
    try:
        broken.write_bytes(b"no weights")
    except OSError:
        pytest.skip("this host is on another machine")
    try:
        rows = host.get(ROOT + "/adapters").json()["adapters"]
        assert "weights" in next(row for row in rows if row["adapter"] == broken.name)["why"]  # hosts read pickles in ways of their own
        assert same(host.txt2img({"images": BOTH}), host.txt2img({"images": BOTH, "adapter": world.adapter().stem}))
    finally:
        broken.unlink()


def test_pictures_that_are_kept_have_a_limit_and_those_in_presets_stay(inside):  # noqa: F811
    images, preset_files = (importlib.import_module("lib_negguide." + name) for name in ("hosts.a1111.images", "webui.preset_files"))
    stored = images.store()
    stored._limit = 1
    first = stored.put(Image.new("RGB", (8, 8), "red"))
    preset_files.folder().save("with a picture", Settings(images=[{"image": first}]))
    second = stored.put(Image.new("RGB", (8, 8), "green"))
    inside.opts.negguide_images_megabytes = 0
    third = stored.put(Image.new("RGB", (8, 8), "blue"))
    assert [stored.get(one) is not None for one in (first, second, third)] == [True, False, True]
