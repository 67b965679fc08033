"""Settings: what is known about each, and their values."""

import json


class OptionInfo:
    def __init__(self, default=None, label="", component=None, component_args=None, onchange=None, section=None,
                 refresh=None, infotext=None, restrict_api=False, category_id=None, **_):
        self.default, self.label, self.component, self.component_args = default, label, component, component_args
        self.onchange, self.section, self.refresh, self.infotext = onchange, section, refresh, infotext
        self.restrict_api, self.category_id, self.do_not_save = restrict_api, category_id, False

    def _same(self, *_):
        return self

    info = html = link = js = needs_restart = needs_reload_ui = _same


class OptionHTML(OptionInfo):
    def __init__(self, text):
        super().__init__(text)
        self.do_not_save = True


def options_section(section, options):
    for info in options.values():
        info.section = section
    return options


class Options:
    """Values as attributes; reading one that was never set gives its default."""

    def __init__(self, labels):
        vars(self).update(data_labels=labels, data={key: info.default for key, info in labels.items()})

    def __getattr__(self, key):
        if key in self.data:
            return self.data[key]
        if key in self.data_labels:
            return self.data_labels[key].default
        raise AttributeError(key)

    def __setattr__(self, key, value):
        if key not in self.data_labels and key not in self.data:
            return super().__setattr__(key, value)
        self.data[key] = value

    def add_option(self, key, info):
        self.data_labels[key] = info
        if key not in self.data and not info.do_not_save:
            self.data[key] = info.default

    def get_default(self, key):
        info = self.data_labels.get(key)
        return info.default if info else None

    def set(self, key, value, is_api=False, run_callbacks=True):
        if self.data.get(key) == value:
            return False
        info = self.data_labels.get(key)
        if is_api and info is not None and info.restrict_api:
            return False
        setattr(self, key, value)
        if run_callbacks and info is not None and info.onchange is not None:
            info.onchange()
        return True

    def cast_value(self, key, value):
        kind = type(self.get_default(key))
        if kind is bool:
            return value if isinstance(value, bool) else str(value) == "True"
        return value if value is None or kind is type(None) else (float if kind is int else kind)(value)

    def save(self, filename):
        with open(filename, "w", encoding="utf8") as file:
            json.dump(self.data, file, indent=1)

    def load(self, filename):
        try:
            with open(filename, encoding="utf8") as file:
                self.data.update(json.load(file))
        except FileNotFoundError:
            pass
