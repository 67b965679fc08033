"""Pictures as prompts."""

from __future__ import annotations

from lib_negguide.errors import SettingsError
from lib_negguide.settings.schedule import Window
from lib_negguide.settings.table import choice, pydantic

SIDES = ("negative", "positive")
NOISES = ("none", "fade", "dissolve", "gaussian", "shuffle")


class ImagePrompt(Window):
    """A picture as a prompt, by IP-Adapter: what to avoid, or what to show. Weight 0 is as none, on either side."""

    image: str = pydantic.Field(
        "", title="Picture", allowed="a picture as base64, as a data URL or as the reference (sha256:…) of a stored one",
        help="The picture itself, or the reference of a stored one. Empty: noise alone.")
    name: str = pydantic.Field("", title="Name", allowed="a text", help="The picture's name, for people.")
    side: str = pydantic.Field(
        "negative", title="Side", choices=SIDES, help="negative: what the picture shows is avoided. positive: it is wanted.")
    noise: str = pydantic.Field(
        "none", title="Noise", choices=NOISES,
        help="Noise on the picture, or alone. fade: it fades into noise. dissolve: some of its pixels are noise. gaussian: noise is added. "
             "shuffle: its tiles change places.")
    amount: float = pydantic.Field(
        0.5, ge=0, le=1, step=0.05, title="Noise amount", allowed="a number from 0 to 1", help="How much of it; 0 is none.")
    seed: int = pydantic.Field(
        0, ge=0, le=2**32 - 1, step=1, title="Noise seed", allowed="a whole number from 0 to 4294967295",
        help="Another seed is other noise.")

    _sides = choice("side", "noise")

    def check(self, path: str) -> None:
        super().check(path)
        if not self.image.strip() and (self.noise in ("none", "shuffle") or not self.amount):
            raise SettingsError(path + "image", self.image, "a picture; or noise alone: fade, dissolve or gaussian, of an amount above 0")
