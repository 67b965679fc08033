"""Checkpoints: the one file that the stand-in was started with."""

import hashlib
import os

import torch
from modules import shared

from lib_negguide.hosts.embedded import checkpoint

checkpoints_list, checkpoint_aliases = {}, {}


class CheckpointInfo:
    def __init__(self, filename):
        self.filename, self.name = filename, os.path.basename(filename)
        self.name_for_extra = self.model_name = os.path.splitext(self.name)[0]
        with open(filename, "rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.shorthash = self.hash = self.sha256[:10]
        self.title, self.short_title = f"{self.name} [{self.shorthash}]", f"{self.name_for_extra} [{self.shorthash}]"


def load_model(filename):
    from modules.sd_model import Model

    info = CheckpointInfo(filename)
    checkpoints_list[info.title] = info
    checkpoint_aliases.update({key: info for key in (info.title, info.name, info.name_for_extra, info.shorthash)})
    shared.opts.sd_model_checkpoint = info.title
    with torch.no_grad():
        shared.sd_model = Model(checkpoint.load(filename), info)
    return shared.sd_model


def get_closet_checkpoint_match(name):
    """The host's own spelling."""
    return checkpoint_aliases.get(name) or next((i for i in checkpoints_list.values() if name and name in i.title), None)


def reload_model_weights(sd_model=None, info=None):
    return shared.sd_model


def apply_token_merging(sd_model, token_merging_ratio):
    """Noted, without effect."""
    sd_model.applied_token_merged_ratio = token_merging_ratio


class SkipWritingToConfig:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def select_checkpoint():
    return next(iter(checkpoints_list.values()))
