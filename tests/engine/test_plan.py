"""What is found out before anything is trained."""
import warnings
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.datasets.sources import open_dataset
from mmcss.engine import ContinualRunner
from mmcss.engine.continual_runner import parse_steps
from mmcss.engine.plan import _fingerprint, config_difference
from mmcss.models import save_hand_over
from tests.models.test_heads import SEGMENTER
from tests.tiny import PLOP, SSUL_M, loader, make_data, tiny_config

REHEARSED = dict(rehearsal=True)


def test_plan_counts_images_and_writes_nothing(tiny_data, tmp_path):
    runner = ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path / 'work'))
    plans = runner.plan()
    assert [(plan.num_train, plan.num_test) for plan in plans] == [(8, 2), (7, 3), (5, 4)]
    text = runner.describe()
    assert 'white' in text
    assert 'model.decode_head.num_classes: 4 -> 5' in text
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize('change, message', [
    (dict(continual=dict(new_rows='zero')), "continual.new_rows: got 'zero', expected 'random' or 'background'"),
    (dict(continual=dict(targets=dict(type='NoSuchPart'))), 'NoSuchPart'),
    (dict(continual=dict(frozen=['shraed', 'old'])), r"continual.frozen: got \['shraed'\], valid are"),
    (dict(continual=dict(row_lr=dict(bckground=0.))), "continual.row_lr.bckground.*: got 'bckground', expected 'background' or 'old'"),
    (dict(continual=dict(new_rows='unknown')), "'unknown' needs a model with an unknown class"),
    (dict(continual=dict(PLOP, unknown=dict(of='background'))), r"continual.unknown: \['targets', 'local_pod'\] can not handle"),
    (dict(continual=dict(classifier='StepHead')), "continual.classifier.type: got 'StepHead', which is not registered, did you mean 'StepHeads'"),
    (dict(continual=dict(unknown=dict(of='saliency'))), 'the saliency map .*000.png of .* can not be read'),
    (dict(continual=dict(memory=dict(size=4, share=.1))), '0.1 of a batch of 4 leaves no room'),
    (dict(next_steps=dict(train_dataloader=dict(dataset=dict(data_prefix=dict(img_path='gone'))))), 'gone'),
    (dict(next_steps=dict(train_dataloader=dict(sampler=dict(type='InfiniteSampler')))),
     'step 1: train_dataloader.sampler: InfiniteSampler never ends'),
    (dict(next_steps=dict(val_cfg=dict(type='ValLoop'))), 'step 1: .*val_dataloader, val_cfg, and val_evaluator should be either all None or not None'),
    (dict(next_steps=dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=4))), 'step 1: train_cfg.max_epochs: there is no such setting.* _delete_=True there'),
    (dict(next_steps=dict(test_dataloader=dict(sampler=dict(type='InfiniteSampler')))), 'test_dataloader.sampler: Inf'),
    (dict(scenario=dict(base=1, increment=3, regime='disjoint', class_order=['green', 'red', 'blue', 'white'])),
     r"step 0 has 0 training images, but none with \['green'\]"),
])
def test_errors_come_before_training(tiny_data, tmp_path, change, message):
    with pytest.raises((ValueError, KeyError), match=message):
        ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path, **{'run': REHEARSED, **change})).train()
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('size, warned', [(0, False), (3, True), (4, False)])
def test_a_memory_that_is_too_small_for_the_classes_is_told(tiny_data, tmp_path, size, warned):
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(memory=dict(size=size)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        ContinualRunner.from_cfg(cfg).plan()
    told = [str(one.message) for one in caught if 'memory' in str(one.message)]
    assert told == ['continual.memory.size: 3 images can not represent 4 classes.'] * warned


def test_another_run_s_step_in_the_folder_is_no_matter(tiny_data, tmp_path):
    (tmp_path / 'step_0').mkdir()
    save_hand_over(tmp_path / 'step_0' / 'step_0.pth', {}, dict(classes=['other']))
    assert len(ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path, continual=SSUL_M)).plan()) == 3


def test_a_head_without_class_dependent_tensors_is_refused(tiny_data, tmp_path):
    from mmseg.models.decode_heads import FCNHead
    from mmseg.registry import MODELS

    @MODELS.register_module(force=True)
    class FixedHead(FCNHead):
        """Keeps five outputs, whatever num_classes says."""

        def __init__(self, num_classes, **kwargs):
            super().__init__(num_classes=5, **kwargs)

    cfg = tiny_config(tiny_data, tmp_path, run=REHEARSED)
    cfg.model.decode_head.type = 'FixedHead'
    with pytest.raises(ValueError, match='class-dependent tensors of this model can not be identified'):
        ContinualRunner.from_cfg(cfg).describe()


@pytest.mark.parametrize('text, steps', [(None, [0, 1, 2]), ('1', [1]), ('0-2', [0, 1, 2]), (2, [2])])
def test_parse_steps(text, steps):
    assert list(parse_steps(text, 3)) == steps


@pytest.mark.parametrize('text', ['3', '2-1', 'x', '-1', '0-3'])
def test_parse_bad_steps(text):
    with pytest.raises(ValueError, match=r'run.steps \(--step\): got'):
        parse_steps(text, 3)


def test_config_difference():
    before = Config(dict(a=1, b=dict(c=2, d=[1, 2])))
    after = Config(dict(a=1, b=dict(c=3), e='x'))
    assert config_difference(before, after) == ['b.c: 2 -> 3', "b.d: [1, 2] -> '(none)'", "e: '(none)' -> 'x'"]


def test_a_head_whose_old_logits_move_is_told_once(tiny_data, tmp_path, capsys):
    cfg = tiny_config(tiny_data, tmp_path, continual={}, run=REHEARSED)
    head = dict(cfg.model.decode_head, channels=8)
    ocr = {key: value for key, value in head.items() if key != 'num_convs'}
    cfg.model.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[head, dict(ocr, type='OCRHead', ocr_channels=8)])
    ContinualRunner.from_cfg(cfg).describe()
    told = [line for line in capsys.readouterr().out.splitlines() if 'OCRHead' in line]
    assert len(told) == 1 and told[0].startswith('note: OCRHead: new classes change the logits of old ones')


def test_a_memory_that_looks_at_features_needs_an_output_layer(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(memory=dict(size=4, policy='herding')), run=REHEARSED)
    cfg.model.backbone = SEGMENTER['backbone']
    cfg.model.decode_head = dict(SEGMENTER['decode_head'], num_classes=99)
    with pytest.raises(ValueError, match='SegmenterMaskTransformerHead has no conv_seg that gives its logits'):
        ContinualRunner.from_cfg(cfg).describe()


def test_stages_are_checked_before_training(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, run=REHEARSED)
    cfg.continual.stages = ['backbone.layer9']
    with pytest.raises(ValueError, match=r"continual.stages: got \['backbone.layer9'\], which are no modules .* backbone.layer4"):
        ContinualRunner.from_cfg(cfg).describe()


def test_images_of_a_step_may_be_listed(tiny_data, tmp_path):
    files = []
    for step, names in enumerate((['000', '001'], ['001'], ['003', '004', '005'])):
        files.append(str(tmp_path / f'{step}.txt'))
        (tmp_path / f'{step}.txt').write_text('\n'.join(names))
    scenario = dict(base=2, increment=1, images_per_step=files, class_order=['red', 'blue', 'green', 'white'])
    plans = ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path / 'run', scenario=scenario)).plan()
    assert [plan.num_train for plan in plans] == [2, 1, 3]


def test_broken_files_are_skipped_on_request(tmp_path):
    data = make_data(tmp_path / 'data')
    (data / 'labels' / 'train' / '000.png').write_bytes(b'')
    cfg = tiny_config(data, tmp_path / 'run')
    with pytest.raises(ValueError, match='000.png'):
        ContinualRunner.from_cfg(cfg).plan()
    whole = [12, 12, 12]
    cfg.run = dict(skip_broken=True)
    with pytest.warns(UserWarning, match=r'--skip-broken: images are left out, because of these files \(1\):\n.*000.png'):
        plans = ContinualRunner.from_cfg(cfg).plan()
    assert plans[0].num_train < whole[0]
    assert all(config.train_dataloader.dataset.skip_broken for config in ContinualRunner.from_cfg(cfg).configs)


def test_data_of_a_trained_step_may_be_gone(tiny_data, tmp_path):
    """Where later steps have data of their own."""
    old = make_data(tmp_path / 'old')
    cfg = tiny_config(old, tmp_path / 'work', continual={})
    cfg.next_steps.train_dataloader = dict(dataset=dict(data_root=str(tiny_data)))
    assert [plan.num_train for plan in ContinualRunner.from_cfg(cfg).plan()] == [8, 7, 5]
    (old / 'images' / 'train').rename(tmp_path / 'gone')
    with pytest.raises(ValueError, match='old.* has no images'):
        ContinualRunner.from_cfg(cfg).plan()
    cfg.run = dict(steps='1-2')
    runner = ContinualRunner.from_cfg(cfg)
    assert [plan.num_train for plan in runner.plan()] == [None, 7, 5]
    rows = [line.split('|') for line in runner.describe().splitlines() if line.startswith('|')]
    assert [[cell.strip() for cell in row[1:4]] for row in rows[1:]] == [['0', '-', '-'], ['1', 'train', '7'],
                                                                        ['2', 'train', '5']]


@pytest.mark.parametrize('step, batch_size', [(0, 7), (1, 6)])
def test_a_last_batch_of_one_image_behind_a_pooling(tiny_data, tmp_path, step, batch_size):
    """Eight and seven images."""
    cfg = tiny_config(tiny_data, tmp_path, continual={}, run=REHEARSED)
    cfg.model.decode_head.update(type='ASPPHead', dilations=(1, 2))
    del cfg.model.decode_head['num_convs']
    cfg.train_dataloader.batch_size = batch_size
    told = f'step {step}: model.decode_head.* A batch of the step is a single image; take train_dataloader.drop_last=True'
    with pytest.raises(ValueError, match=told):
        ContinualRunner.from_cfg(cfg).describe()


def test_machines_with_other_images_are_told_apart(tmp_path):
    trees = [make_data(tmp_path / name / 'data') for name in ('one', 'same', 'other')]
    first = sorted((trees[2] / 'images' / 'train').iterdir())[0]
    first.rename(first.with_name('999.png'))
    found = []
    for tree in trees:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tree.parent)
            found.append(_fingerprint(open_dataset(loader(Path('data'), 'train')['dataset'])))
    assert found[0] == found[1] != found[2]
    assert all(one.startswith('12 images, digest ') for one in found)


def test_how_a_step_from_elsewhere_was_trained_is_no_matter(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'work', first_step=dict(train_cfg=dict(max_epochs=0)))
    with pytest.raises(ValueError, match='step 0: train_cfg.max_epochs: got 0, expected at least 1'):
        ContinualRunner.from_cfg(cfg).plan()
    save_hand_over(tmp_path / 'step_0.pth', {}, dict(classes=['background', 'red', 'green']))
    cfg.run = dict(first_step_from=str(tmp_path / 'step_0.pth'))
    assert [plan.num_train for plan in ContinualRunner.from_cfg(cfg).plan()] == [8, 7, 5]
