"""The selectable script "Removal strip" for AUTOMATIC1111's WebUI: registers it, nothing else."""

from lib_negguide import hosts

hosts.detect()  # elsewhere the imports below would fail without saying why

from lib_negguide.webui.removal_script import RemovalStripScript  # noqa: E402, F401  (the host registers Script classes that it finds here)
