"""The class names that a config states for its data sets."""
import warnings

import pytest
from mmseg.datasets import ADE20KDataset, BaseSegDataset
from mmseg.registry import DATASETS

from mmcss.engine import build_scenario, step_config
from mmcss.engine.settings import read_settings
from mmcss.engine.stated_classes import leaf_configs, stated_names, with_clean_names
from tests.tiny import CLASSES, tiny_config


def leaf(classes=None, **options):
    return dict(type='BaseSegDataset', metainfo=dict(classes=classes) if classes else {}, **options)


def configured(tmp_path, train, test=None, **changes):
    """A config whose data sets list these names."""
    cfg = tiny_config(tmp_path, tmp_path, **changes)
    for role, names in (('train', train), ('test', train if test is None else test)):
        cfg[f'{role}_dataloader'].dataset.metainfo.classes = names
    return cfg


@pytest.fixture
def told(recwarn):
    """The warnings about the background so far."""
    warnings.simplefilter('always')
    return lambda: [str(one.message) for one in recwarn if 'metainfo.classes' in str(one.message)]


def test_names_of_configs_and_of_types():
    assert stated_names(leaf(['background', 'cat'])).raw_ids == dict(background=0, cat=1)
    assert stated_names(leaf(['cat'], reduce_zero_label=True)).raw_ids == dict(background=0, cat=1)
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[leaf(['a', 'b ']), leaf()]))
    assert stated_names(wrapped).listed == ('a', 'b')
    assert stated_names(dict(type=ADE20KDataset)).foreground == tuple(ADE20KDataset.METAINFO['classes'])  # with 'bed '
    with pytest.raises(ValueError, match='class names of BaseSegDataset are not known: .* in test_dataloader.dataset'):
        stated_names(leaf(), 'test')
    with pytest.raises(ValueError, match="train_dataloader.dataset.type: got 'NoSet', which is not registered"):
        stated_names(dict(type='NoSet'))


def test_the_background_of_a_type_is_spelled_otherwise():
    """LIP's data set calls it 'Background'."""
    names = stated_names(dict(type='LIPDataset'))
    assert (names.listed[0], names.raw_ids['background'], names.spelling) == ('background', 0, 'Background')


def test_a_file_of_names(tmp_path):
    file = tmp_path / 'names.txt'
    file.write_bytes(b'\xef\xbb\xbfbackground\r\nred \r\n\tgreen\r\n\r\n')
    wrapped = dict(type='ConcatDataset', datasets=[leaf(str(file), ann_file='x'), leaf(['background', 'red', 'green'])])
    found = list(leaf_configs(with_clean_names(wrapped)))
    assert found == [leaf(['background', 'red', 'green'], ann_file='x'), leaf(['background', 'red', 'green'])]
    assert wrapped['datasets'][0]['metainfo']['classes'] == str(file)
    # The stock data set would have read the mark as a part of the first name.
    assert BaseSegDataset._load_metainfo(dict(classes=str(file)))['classes'][0] == '\ufeffbackground'


def test_one_spelling_of_the_background():
    """But that of a type with names of its own, which takes no other."""
    found = with_clean_names(dict(type='ConcatDataset', datasets=[leaf(['_background_', 'cat']), leaf(['BG', 'cat'])]))
    assert found['datasets'] == [leaf(['background', 'cat'])] * 2
    config = dict(type='LIPDataset', metainfo=dict(classes=['Background', 'Hat']))
    assert with_clean_names(config) == config and stated_names(config).listed == ('background', 'Hat')


def test_clean_configs_stay_as_they_are():
    for config in (leaf(('background', 'cat')), leaf(), dict(type='ADE20KDataset', metainfo=dict(classes=('bed ', 'wall')))):
        assert with_clean_names(config) == config


@pytest.mark.parametrize('content, message', [(None, 'No such file'), ('background\n'.encode('utf-16'), 'utf-8')])
def test_files_of_names_that_can_not_be_read(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'names.txt').write_bytes(content)
    with pytest.raises(ValueError, match=rf"metainfo.classes: '.*names.txt' cannot be read as a text file .*{message}"):
        stated_names(leaf(str(tmp_path / 'names.txt')))


def test_an_ordinary_background_needs_no_word(tmp_path, told):
    assert build_scenario(configured(tmp_path, CLASSES))[0].seen == ('background', 'red', 'green') and not told()


@pytest.mark.parametrize('test', ['Background', 'background', '__background__'])
def test_another_name_of_the_background(tmp_path, told, test):
    """It is said once; steps have the common one, whatever the test data call it."""
    names = ('_background_', *CLASSES[1:])
    cfg = configured(tmp_path, names, (test, *CLASSES[1:]), protocol='mib')
    scenario = build_scenario(cfg)
    steps = [step_config(cfg, scenario, step) for step in range(3)]
    assert told() == ["metainfo.classes: '_background_', label value 0, is taken for the background; steps and checkpoints "
                      "call it 'background'."]
    assert [split.seen for split in scenario] == [CLASSES[:3], CLASSES[:4], CLASSES]
    assert steps[1].train_dataloader.dataset.split.background == 'background'
    assert read_settings(cfg).protocol.background is True  # it is listed


def test_a_first_class_that_may_be_none(tmp_path, told):
    build_scenario(configured(tmp_path, ('void', *CLASSES[1:])))
    assert told() == ["metainfo.classes: 'void', label value 0, is learned like any class. If it stands for pixels of no class, "
                      "call it 'background'."]


@pytest.mark.parametrize('train, test, message', [
    (CLASSES, CLASSES[1:], "test_dataloader.dataset: got the label values 0 'red', 1 'green', 2 'blue', ..., expected those of "
                           "train_dataloader, 0 'background', 1 'red', 2 'green', ...; give both the same"),
    (CLASSES[1:], ('BG', *CLASSES[1:]), "train_dataloader, 0 'red', 1 'green'")])
def test_data_of_which_only_one_has_a_background(tmp_path, train, test, message):
    with pytest.raises(ValueError, match=message):
        build_scenario(configured(tmp_path, train, test))


def test_steps_read_a_file_of_names_once(tiny_data, tmp_path):
    """What the stock data sets are built from is a list, and fits their palette."""
    (tmp_path / 'names.txt').write_bytes(b'\xef\xbb\xbf' + '\r\n'.join(CLASSES).encode() + b'\r\n\r\n')
    cfg = configured(tiny_data, str(tmp_path / 'names.txt'))
    step = step_config(cfg, build_scenario(cfg), 1)
    for role in ('train', 'test'):
        assert step[f'{role}_dataloader'].dataset.dataset.metainfo.classes == list(CLASSES)
    dataset = DATASETS.build(step.test_dataloader.dataset)
    assert dataset.metainfo['classes'] == ('background', 'red', 'green', 'blue')
    assert dataset.metainfo['palette'][3] == [0, 0, 255]
