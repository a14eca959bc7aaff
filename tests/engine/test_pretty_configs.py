import yapf.yapflib.yapf_api as yapf_module
from mmengine.config import Config

from mmcss.engine.pretty_configs import MOST, formatted_once


def count(monkeypatch):
    """Texts that yapf was given."""
    texts = []

    def format_code(text, **options):
        texts.append(text)
        return f'# pretty\n{text}', True

    monkeypatch.setattr(yapf_module, 'FormatCode', format_code)
    return texts


def test_equal_texts_are_formatted_once(monkeypatch):
    texts = count(monkeypatch)
    with formatted_once():
        first, again, other = (Config(dict(a=a)).pretty_text for a in (1, 1, 2))
    assert [first, again, other] == [f'# pretty\n{text}' for text in (texts[0], texts[0], texts[1])]
    assert len(texts) == 2 and '1' in texts[0] and '2' in texts[1]


def test_behind_it_all_is_as_before(monkeypatch):
    texts = count(monkeypatch)
    before = yapf_module.FormatCode
    with formatted_once():
        assert yapf_module.FormatCode is not before
    assert yapf_module.FormatCode is before and not texts


def test_few_texts_are_kept(monkeypatch):
    texts = count(monkeypatch)
    with formatted_once():
        for number in range(MOST + 1):
            yapf_module.FormatCode(str(number))
        yapf_module.FormatCode(str(MOST))
        yapf_module.FormatCode('0')
    assert len(texts) == MOST + 2
