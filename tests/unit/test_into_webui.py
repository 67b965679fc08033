import pytest

from tests.world import into_webui


def test_checkpoint_gets_the_tokenizers_absolute_path(tmp_path):
    checkpoint = into_webui.put_checkpoint(tmp_path / "models")
    yaml = checkpoint.with_suffix(".yaml").read_text("utf-8")
    assert f"version: {into_webui.MODEL / 'tokenizer'}" in yaml
    assert checkpoint.read_bytes() == (into_webui.MODEL / checkpoint.name).read_bytes()


def test_the_extension_is_linked_once_and_never_over_something_else(tmp_path):
    (tmp_path / "extensions").mkdir()
    link = into_webui.put_extension(tmp_path)
    assert (link / "scripts").resolve() == into_webui.CHECKOUT / "scripts"
    assert into_webui.put_extension(tmp_path) == link
    link.unlink()
    link.mkdir()
    with pytest.raises(SystemExit, match="move it away"):
        into_webui.put_extension(tmp_path)


def test_a_folder_that_is_no_webui_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["into_webui", str(tmp_path)])
    assert into_webui.main() == 2
    assert "is not a WebUI" in capsys.readouterr().err
