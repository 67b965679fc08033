"""Starting the host, in the real one's order."""

import time

import torch


def start(port, model, folders):
    """Serve on 127.0.0.1 until interrupted; prints ``Startup time:`` when everything answers."""
    began = time.time()
    torch.set_num_threads(1)
    from modules import extensions, gradio_extensions, interrogate, script_callbacks, scripts, sd_models, shared, ui, ui_head  # noqa: F401
    from modules.api.api import Api
    from modules.call_queue import queue_lock

    extensions.active_folders[:] = folders
    shared.cmd_opts.port = port
    interrogate.initialize()
    scripts.load_scripts()
    sd_models.load_model(model)
    script_callbacks.before_ui_callback()
    shared.demo = ui.create_ui()
    ui_head.install()
    app, _, _ = shared.demo.queue(64).launch(
        server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, show_api=False, quiet=True,
        auth=[tuple(pair.split(":")) for pair in (shared.cmd_opts.gradio_auth or "").split(",") if pair] or None, allowed_paths=[shared.paths.script_path, *folders])
    app.user_middleware = [entry for entry in app.user_middleware if entry.cls.__name__ != "CORSMiddleware"]
    app.middleware_stack = None
    Api(app, queue_lock)
    script_callbacks.app_started_callback(shared.demo, app)
    app.middleware_stack = app.build_middleware_stack()
    print(f"Running on http://127.0.0.1:{port}\nStartup time: {time.time() - began:.1f}s.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        script_callbacks.script_unloaded_callback()
        shared.demo.close()
