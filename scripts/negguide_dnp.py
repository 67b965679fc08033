"""The selectable script "Diffusion-negative prompting" for AUTOMATIC1111's WebUI: registers it, nothing else."""

from lib_negguide import hosts

hosts.detect()  # elsewhere the imports below would fail without saying why

from lib_negguide.webui.dnp_script import DnpScript  # noqa: E402, F401  (the host registers Script classes that it finds here)
