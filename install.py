"""Run by the WebUI before it starts. Installs nothing: all that the extension needs, the host brings and pins."""

from lib_negguide import hosts
from lib_negguide.errors import HostError

try:
    hosts.detect()
except HostError as error:
    print(error)
