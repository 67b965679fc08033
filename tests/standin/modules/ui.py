"""The page: txt2img, img2img, PNG Info, with the elements' names as in the real one."""

import html

import gradio as gr
from modules import images, infotext_utils, script_callbacks, scripts, sd_samplers, sd_schedulers, shared, ui_generate
from modules.call_queue import wrap_gradio_gpu_call
from modules.infotext_utils import ParamBinding, PasteField
from modules.ui_components import FormRow, InputAccordion, ToolButton

FONTS = ("ui-sans-serif", "system-ui", "sans-serif")  # none from the network


def _top_row(tab):
    with gr.Row(elem_id=f"{tab}_toprow"):
        with gr.Column(elem_id=f"{tab}_prompt_container", scale=6):
            prompt = gr.Textbox(label="Prompt", elem_id=f"{tab}_prompt", show_label=False, lines=3, placeholder="Prompt")
            negative = gr.Textbox(label="Negative prompt", elem_id=f"{tab}_neg_prompt", show_label=False, lines=3,
                                  placeholder="Negative prompt")
        with gr.Column(scale=1, elem_id=f"{tab}_actions_column"):
            with gr.Row(elem_id=f"{tab}_generate_box"):
                interrupt = gr.Button("Interrupt", elem_id=f"{tab}_interrupt")
                skip = gr.Button("Skip", elem_id=f"{tab}_skip")
                generate = gr.Button("Generate", elem_id=f"{tab}_generate", variant="primary")
            with gr.Row(elem_id=f"{tab}_tools"):
                paste = ToolButton("↙️", elem_id="paste")
    interrupt.click(shared.state.interrupt)
    skip.click(shared.state.skip)
    return prompt, negative, generate, paste


def _slider(tab, name, label, value, low, high, step):
    return gr.Slider(minimum=low, maximum=high, step=step, value=value, label=label, elem_id=f"{tab}_{name}")


def _settings(tab):
    """Components named as the fields of a request, in their order."""
    with FormRow(elem_id=f"sampler_selection_{tab}"):
        names = [sampler.name for sampler in sd_samplers.visible_samplers()]
        sampler = gr.Dropdown(label="Sampling method", elem_id=f"{tab}_sampling", choices=names, value="Euler a")
        labels = [scheduler.label for scheduler in sd_schedulers.schedulers]
        scheduler = gr.Dropdown(label="Schedule type", elem_id=f"{tab}_scheduler", choices=labels, value=labels[0])
        steps = _slider(tab, "steps", "Sampling steps", 20, 1, 150, 1)
    with gr.Row(elem_id=f"{tab}_column_size"):
        width = _slider(tab, "width", "Width", 64, 64, 2048, 8)
        height = _slider(tab, "height", "Height", 64, 64, 2048, 8)
    with gr.Row():
        count = _slider(tab, "batch_count", "Batch count", 1, 1, 100, 1)
        size = _slider(tab, "batch_size", "Batch size", 1, 1, 8, 1)
        cfg = _slider(tab, "cfg_scale", "CFG Scale", 7.0, 1.0, 30.0, 0.5)
    seed = gr.Number(label="Seed", value=-1, elem_id=f"{tab}_seed", precision=0)
    return {"steps": steps, "sampler_name": sampler, "scheduler": scheduler, "n_iter": count, "batch_size": size,
            "cfg_scale": cfg, "height": height, "width": width, "seed": seed}


def _hires():
    with InputAccordion(False, label="Hires. fix", elem_id="txt2img_hr") as enable:
        upscaler = gr.Dropdown(label="Upscaler", elem_id="txt2img_hr_upscaler", choices=list(shared.latent_upscale_modes),
                               value=shared.latent_upscale_default_mode)
        steps = _slider("txt2img", "hires_steps", "Hires steps", 0, 0, 150, 1)
        strength = _slider("txt2img", "denoising_strength", "Denoising strength", 0.7, 0.0, 1.0, 0.01)
        scale = _slider("txt2img", "hr_scale", "Upscale by", 2.0, 1.0, 4.0, 0.05)
        prompt = gr.Textbox(label="Hires prompt", elem_id="hires_prompt", lines=2)
        negative = gr.Textbox(label="Hires negative prompt", elem_id="hires_neg_prompt", lines=2)
    return {"enable_hr": enable, "denoising_strength": strength, "hr_scale": scale, "hr_upscaler": upscaler,
            "hr_second_pass_steps": steps, "hr_prompt": prompt, "hr_negative_prompt": negative}


def _outputs(tab, paste_field_names):
    with gr.Column(elem_id=f"{tab}_results"):
        gallery = gr.Gallery(label="Output", show_label=False, elem_id=f"{tab}_gallery", columns=4, preview=True)
        with gr.Row(elem_id=f"image_buttons_{tab}"):
            send = ToolButton("🖼️", elem_id=f"{tab}_send_to_img2img")
        info = gr.HTML(elem_id=f"html_info_{tab}")
        log = gr.HTML(elem_id=f"html_log_{tab}")
        about = gr.Textbox(visible=False, elem_id=f"generation_info_{tab}")
    infotext_utils.register_paste_params_button(ParamBinding(
        send, "img2img", source_tabname="txt2img" if tab == "txt2img" else None, source_image_component=gallery,
        paste_field_names=paste_field_names))
    return [gallery, about, info, log]


def _tab(is_img2img):
    tab = "img2img" if is_img2img else "txt2img"
    runner = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
    scripts.scripts_current = runner
    runner.initialize_scripts(is_img2img)
    with gr.Blocks(analytics_enabled=False) as page:
        prompt, negative, generate, paste = _top_row(tab)
        with gr.Row(equal_height=False):
            with gr.Column(variant="compact", elem_id=f"{tab}_settings"):
                runner.prepare_ui()
                pictures, extra = [], {}
                if is_img2img:
                    with gr.Tabs(elem_id="mode_img2img"):
                        with gr.Tab("img2img", id="img2img"):
                            pictures.append(gr.Image(elem_id="img2img_image", source="upload", type="pil", label="Picture"))
                        with gr.Tab("Inpaint", id="inpaint"):
                            pictures.append(gr.Image(elem_id="img2maskimg", source="upload", tool="sketch", type="pil", label="Picture"))
                    extra["denoising_strength"] = _slider(tab, "denoising_strength", "Denoising strength", 0.75, 0.0, 1.0, 0.01)
                fields = {"prompt": prompt, "negative_prompt": negative, **_settings(tab)}
                with gr.Row(elem_id=f"{tab}_accordions", elem_classes="accordions"):
                    if not is_img2img:
                        extra = _hires()
                    runner.setup_ui_for_section("accordions")
                fields.update(extra)
                with gr.Group(elem_id=f"{tab}_script_container"):
                    custom = runner.setup_ui()
            outputs = _outputs(tab, runner.paste_field_names)
        names = ui_generate.COMMON + (("denoising_strength",) if is_img2img else ui_generate.HIRES)
        generate.click(
            wrap_gradio_gpu_call(ui_generate.img2img if is_img2img else ui_generate.txt2img, extra_outputs=[None, "", ""]),
            inputs=[*(fields[name] for name in names), *pictures, *custom], outputs=outputs, show_progress=False)
    for target, picture in zip((tab, "inpaint"), pictures or [None]):
        infotext_utils.add_paste_fields(target, picture, _paste_fields(fields, runner))
    infotext_utils.register_paste_params_button(ParamBinding(paste, tab, source_text_component=prompt))
    scripts.scripts_current = None
    return page


_LABELS = {
    "prompt": "Prompt", "negative_prompt": "Negative prompt", "steps": "Steps", "cfg_scale": "CFG scale", "width": "Size-1",
    "height": "Size-2", "seed": "Seed", "denoising_strength": "Denoising strength", "hr_scale": "Hires upscale",
    "hr_upscaler": "Hires upscaler", "hr_second_pass_steps": "Hires steps", "hr_prompt": "Hires prompt",
    "hr_negative_prompt": "Hires negative prompt", "sampler_name": sd_samplers.get_sampler_from_infotext,
    "scheduler": sd_samplers.get_scheduler_from_infotext,
    "enable_hr": lambda d: "Denoising strength" in d and ("Hires upscale" in d or "Hires upscaler" in d),
}


def _paste_fields(fields, runner):
    known = [PasteField(component, _LABELS[name], api=name) for name, component in fields.items() if name in _LABELS]
    return [*known, *runner.infotext_fields]


def _png_info():
    def read(image):
        if image is None:
            return "", "", ""
        infotext, items = images.read_info_from_image(image)
        items = {"parameters": infotext, **items} if infotext else items
        rows = "".join(f"<div class='infotext'><p><b>{html.escape(key)}</b></p><p>{html.escape(value)}</p></div>" for key, value in items.items())
        return "", infotext or "", rows or "<div><p>Nothing found in the image.</p></div>"

    with gr.Blocks(analytics_enabled=False) as page, gr.Row(equal_height=False):
        with gr.Column():
            image = gr.Image(elem_id="pnginfo_image", label="Source", source="upload", interactive=True, type="pil")
        with gr.Column():
            first, text, second = gr.HTML(), gr.Textbox(visible=False, elem_id="pnginfo_generation_info"), gr.HTML()
            with gr.Row():
                for tab in ("txt2img", "img2img"):
                    button = gr.Button(f"Send to {tab}", elem_id=f"{tab}_tab")
                    infotext_utils.register_paste_params_button(ParamBinding(
                        button, tab, source_text_component=text, source_image_component=image))
        image.change(read, inputs=[image], outputs=[first, text, second])
    return page


def create_ui():
    infotext_utils.paste_fields.clear()
    infotext_utils.registered_param_bindings.clear()
    script_callbacks.ui_settings_callback()
    tabs = [(_tab(False), "txt2img", "txt2img"), (_tab(True), "img2img", "img2img"), (_png_info(), "PNG Info", "pnginfo")]
    tabs += script_callbacks.ui_tabs_callback()
    shared.tab_names = [label for _, label, _ in tabs]
    with gr.Blocks(theme=gr.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace")), analytics_enabled=False, title="NegGuide on a stand-in of the WebUI") as demo:
        infotext_utils.connect_paste_params_buttons()
        with gr.Tabs(elem_id="tabs"):
            for page, label, name in tabs:
                with gr.TabItem(label, id=name, elem_id=f"tab_{name}"):
                    page.render()
    return demo
