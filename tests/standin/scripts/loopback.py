"""img2img again and again on its own result; uses one ``p`` for all turns."""

import gradio as gr
from modules import scripts, shared
from modules.processing import Processed, fix_seed, process_images


class Script(scripts.Script):
    def title(self):
        return "Loopback"

    def show(self, is_img2img):
        return is_img2img

    def ui(self, is_img2img):
        return [gr.Slider(label="Loops", minimum=1, maximum=32, step=1, value=2),
                gr.Slider(label="Final denoising strength", minimum=0, maximum=1, step=0.01, value=0.5),
                gr.Dropdown(label="Denoising strength curve", choices=["Aggressive", "Linear", "Lazy"], value="Linear"),
                gr.Dropdown(label="Append interrogated prompt at each iteration", choices=["None"], value="None")]

    def run(self, p, loops, final_strength, curve, append):
        fix_seed(p)
        first, pictures, infotexts = p.denoising_strength, [], []
        for turn in range(int(loops)):
            if shared.state.interrupted:
                break
            part = turn / max(int(loops) - 1, 1)
            p.denoising_strength = first + (final_strength - first) * part
            processed = process_images(p)
            pictures.append(processed.images[0])
            infotexts.append(processed.infotexts[0])
            p.init_images, p.seed = [processed.images[0]], processed.seed + 1
        return Processed(p, pictures, processed.seed, infotexts[0], infotexts=infotexts)
