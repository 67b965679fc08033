"""The page's head: the host's scripts, then the extensions'; styles at its end."""

import os

import gradio as gr
from modules import extensions, paths, scripts


def _url(path):
    return f"file={path}?{os.path.getmtime(path)}"


def install():
    """Let gradio's page load javascript/*.js and style.css of the host and of every extension."""
    sources = [path for _, path in scripts.list_files("javascript", ".js")]
    head = "".join(f'<script type="text/javascript" src="{_url(path)}"></script>\n' for path in sources)
    folders = [paths.script_path] + [extension.path for extension in extensions.active()]
    sheets = [path for path in (os.path.join(folder, "style.css") for folder in folders) if os.path.isfile(path)]
    foot = "".join(f'<link rel="stylesheet" property="stylesheet" href="{_url(path)}">' for path in sheets)
    original = gr.routes.templates.TemplateResponse

    def respond(*args, **kwargs):
        response = original(*args, **kwargs)
        response.body = response.body.replace(b"</head>", head.encode() + b"</head>").replace(b"</body>", foot.encode() + b"</body>")
        response.init_headers()
        return response

    gr.routes.templates.TemplateResponse = respond
