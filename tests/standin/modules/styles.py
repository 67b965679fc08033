"""Prompt styles: ``styles.csv`` in the data folder, with the columns name, prompt, negative_prompt."""

import csv
import os


def _merged(style, prompt):
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(part.strip() for part in (prompt, style) if part.strip())


class StyleDatabase:
    def __init__(self, folder):
        path = os.path.join(folder, "styles.csv")
        self.styles = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8-sig", newline="") as file:
                self.styles = {row["name"]: row for row in csv.DictReader(file)}

    def _apply(self, field, prompt, names):
        for name in names:
            prompt = _merged(self.styles.get(name, {}).get(field, ""), prompt)
        return prompt

    def apply_styles_to_prompt(self, prompt, styles):
        return self._apply("prompt", prompt, styles)

    def apply_negative_styles_to_prompt(self, prompt, styles):
        return self._apply("negative_prompt", prompt, styles)
