"""The host's own kinds of components."""

import gradio as gr


class ToolButton(gr.Button):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, elem_classes=["tool", *kwargs.pop("elem_classes", [])], **kwargs)

    def get_block_name(self):
        return "button"


class FormRow(gr.Row):
    def get_block_name(self):
        return "row"


class FormColumn(gr.Column):
    def get_block_name(self):
        return "column"


class FormGroup(gr.Group):
    def get_block_name(self):
        return "group"


class InputAccordion(gr.Checkbox):
    """An accordion whose being open is a value: a hidden check box that javascript/ ties to the accordion."""

    count = 0

    def __init__(self, value, **kwargs):
        InputAccordion.count += 1
        self.accordion_id = kwargs.pop("elem_id", None) or f"input-accordion-{InputAccordion.count}"
        label = kwargs.pop("label", "Accordion")
        super().__init__(value, label=label, elem_id=f"{self.accordion_id}-checkbox", visible=False, **kwargs)
        self.change(None, _js=f"(checked) => {{ inputAccordionChecked('{self.accordion_id}', checked); }}", inputs=[self])
        self.accordion = gr.Accordion(label=label, elem_id=self.accordion_id, elem_classes=["input-accordion"], open=value)

    def extra(self):
        return gr.Column(elem_id=self.accordion_id + "-extra", elem_classes="input-accordion-extra", min_width=0)

    def __enter__(self):
        self.accordion.__enter__()
        return self

    def __exit__(self, *exception):
        self.accordion.__exit__(*exception)

    def get_block_name(self):
        return "checkbox"
