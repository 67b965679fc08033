"""The extensions to load: folders with scripts/, javascript/ and style.css."""

import os

active_folders = []


class Extension:
    def __init__(self, path):
        self.path = path
        self.name = self.canonical_name = os.path.basename(path)
        self.enabled = True


def active():
    return [Extension(path) for path in active_folders]
