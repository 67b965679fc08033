"""Tests of the extension in a host: the stand-in, or a real WebUI by ``--webui-dir`` or ``--webui-url``."""
