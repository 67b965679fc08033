"""The small model: the trained one where it is in the checkout, else an untrained one of the same shapes."""

from pathlib import Path

import pytest
import torch

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from tests.world import export, words


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """Folder with an untrained checkpoint, its yaml and tokenizer."""
    folder = tmp_path_factory.mktemp("untrained")
    words.write_tokenizer(folder / "tokenizer")
    export.write(folder, *export.random_states(0, folder / "tokenizer"))
    return folder


@pytest.fixture(scope="session")
def checkpoint(request) -> Path:
    path = world.FOLDER / world.NAME
    return path if path.is_file() else request.getfixturevalue("untrained") / world.NAME


@pytest.fixture(scope="session")
def host(checkpoint) -> EmbeddedHost:
    return EmbeddedHost.load(checkpoint)


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on a busy machine are many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
