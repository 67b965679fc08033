"""VAEs beside the checkpoint's own: none."""

from types import SimpleNamespace

vae_dict = {}


def resolve_vae(checkpoint_file):
    return SimpleNamespace(vae=None, source=None, resolved=True)


def get_loaded_vae_name():
    return None


def get_loaded_vae_hash():
    return None


def get_loaded_vae_name():
    return None


get_loaded_vae_hash = get_loaded_vae_name
