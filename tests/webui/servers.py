"""Hosts as subprocesses: the stand-in, and a checkout of the real WebUI."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.world.into_webui import MODEL, interpreter, put_checkpoint

PROJECT = Path(__file__).resolve().parents[2]
SABOTEUR = Path(__file__).resolve().parent / "saboteur"
READY = "Startup time:"  # the real host's own line; requests before it can kill the server
STARTUP_S = 300

# What tests of pictures take for granted, as the real host's settings. Options that requests override have to be among them:
# the host puts back only what its config.json has.
SETTINGS = {"samples_save": False, "grid_save": False, "live_previews_enable": False, "show_progress_every_n_steps": -1,
            "randn_source": "CPU", "enable_pnginfo": True, "CLIP_stop_at_last_layers": 1, "sd_checkpoint_cache": 0,
            "pad_cond_uncond": False, "pad_cond_uncond_v0": False, "s_min_uncond": 0.0, "s_min_uncond_all": False, "skip_early_cond": 0.0,
            "batch_cond_uncond": True, "emphasis": "Original", "use_old_scheduling": False, "eta_noise_seed_delta": 0}


class Server:
    """A host that is starting; ``wait()`` until it answers."""

    def __init__(self, command, port, log, **kwargs):
        self.url, self.log = f"http://127.0.0.1:{port}", Path(log)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False", **kwargs.pop("env", {})}
        with self.log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=env, start_new_session=True, **kwargs)

    def wait(self):
        end = time.monotonic() + STARTUP_S
        while READY not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > end:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
                self.stop()
                raise RuntimeError(f"the host did not start:\n{tail}")
            time.sleep(0.2)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def free_port():
    """One below those that outgoing connections take: it stays free until the host has started, seconds later."""
    for _ in range(100):
        port = 16000 + secrets.randbelow(16000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def start_standin(data, stock=False, model=None, flags=()):
    """The stand-in with this checkout (and a script that makes it fail on request) as its extensions."""
    port = free_port()
    command = [sys.executable, "-m", "tests.standin", "--port", str(port), "--data-dir", str(data)]
    command += ["--model", str(model)] if model else []
    command += ["--stock"] if stock else ["--extension", str(SABOTEUR)]
    command += flags
    return Server(command, port, data / "log.txt", cwd=PROJECT)


def start_webui(webui, data, stock=False, flags=()):
    """A checkout of the real WebUI, with folders of its own for settings, models and extensions."""
    (data / "config.json").write_text(json.dumps(SETTINGS))
    checkpoint = put_checkpoint(data / "models" / "Stable-diffusion", MODEL)
    extensions = data / "extensions"
    extensions.mkdir()
    if not stock:
        (extensions / "negguide").symlink_to(PROJECT, target_is_directory=True)
        (extensions / "saboteur").symlink_to(SABOTEUR, target_is_directory=True)
    port = free_port()
    command = [interpreter(webui), "launch.py", "--skip-prepare-environment", "--skip-python-version-check", "--skip-version-check",
               "--skip-torch-cuda-test", "--use-cpu", "all", "--no-half", "--no-hashing", "--no-download-sd-model",
               "--do-not-download-clip", "--disable-console-progressbars", "--api", "--port", str(port), "--data-dir", str(data),
               "--ckpt", str(checkpoint), *flags]
    return Server(command, port, data / "log.txt", cwd=webui, env={"PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": ""})
