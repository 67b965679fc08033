"""Where the host's own files and the user's files are."""

import os
import tempfile

script_path = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
data_path = os.environ.get("STANDIN_DATA") or tempfile.mkdtemp(prefix="standin-")
models_path = os.path.join(data_path, "models")
extensions_dir = os.path.join(data_path, "extensions")
