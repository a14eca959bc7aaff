"""What losses say of single classes, at one step."""
import inspect

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmcss.engine import build_scenario, step_config
from mmcss.engine.class_settings import StepClasses, follow_classes, is_a
from mmcss.engine.model_config import stock_model
from tests.tiny import MIB, tiny_config, tiny_model

ORDER = (0, 3, 1, 4, 2)  # of five classes, as positions in the data set's list
OF_ALL = [.0, .1, .2, .3, .4]


class CountsLoss(nn.Module):
    """A loss of someone's own, with a list of each class's pixels."""


def settled(seen=3, listed=5, unknown=False, **loss):
    """A loss as the step has it, beside another one."""
    loss = dict(dict(type='CrossEntropyLoss'), **loss)
    heads = dict(type='FCNHead', loss_decode=[dict(type='BoundaryLoss'), loss])
    follow_classes(heads, 'model.decode_head', StepClasses(ORDER, seen, listed, unknown))
    return {key: value for key, value in heads['loss_decode'][1].items() if key != 'type'}


@pytest.mark.parametrize('loss, key', [
    ('CrossEntropyLoss', 'class_weight'), ('OhemCrossEntropy', 'class_weight'), ('LovaszLoss', 'class_weight'),
    ('TverskyLoss', 'class_weight'), ('HuasdorffDisstanceLoss', 'class_weight'), ('FocalLoss', 'class_weight'),
    ('FocalLoss', 'alpha'), (CountsLoss, 'counts'), (CountsLoss, 'pos_weight')])
@pytest.mark.parametrize('seen, expected', [(1, [.0]), (3, [.0, .3, .1]), (5, [.0, .3, .1, .4, .2])])
def test_lists_with_an_entry_for_each_class(loss, key, seen, expected):
    assert settled(seen, type=loss, **{key: tuple(OF_ALL)}) == {key: expected}
    if isinstance(loss, str):  # it is one of the loss's settings
        assert key in inspect.signature(MODELS.get(loss).__init__).parameters


@pytest.mark.parametrize('setting', [
    dict(alpha=.25), dict(alpha=[.3, .7], type='CrossEntropyLoss'), dict(scales=[1, 2]), dict(loss_weight=2.),
    dict(class_weight=None), dict(flags=[True] * 5), dict(classes='present'), dict(names=list('abcde'))])
def test_other_settings_stay(setting):
    assert settled(**setting) == {key: value for key, value in setting.items() if key != 'type'}


def test_lists_of_heads_are_no_loss_s():
    head = dict(type='UPerHead', in_index=[0, 1, 2, 3, 4], pool_scales=(1, 2, 3, 6, 7), loss_decode=dict(type='DiceLoss'))
    before = dict(head)
    follow_classes(head, 'model.decode_head', StepClasses(ORDER, 2, 5))
    assert head == before


def test_losses_inside_losses():
    inner = [dict(type=CountsLoss, counts=[1, 2, 3, 4, 5])]
    assert settled(type=CountsLoss, parts=inner) == dict(parts=[dict(type=CountsLoss, counts=[1, 4, 2])])


@pytest.mark.parametrize('setting, message', [
    (dict(class_weight=[.1, .2]), r'model.decode_head.loss_decode\[1\].class_weight: got 2 entries, expected 5'),
    (dict(class_weight=[.1] * 5 + [.2]), r'class_weight: got 6 entries, expected 5: one for each class of the data set'),
    (dict(pos_weight=[.1, .2]), r'pos_weight: got 2 entries, expected 5'),
    (dict(type='FocalLoss', alpha=[.1, .2, .3]), r'loss_decode\[1\].alpha: got 3 entries, expected 5'),
    (dict(class_weight='weights.npy'), r'loss_decode\[1\].class_weight: got a file of weights, which cannot be cut'),
    (dict(type=CountsLoss, counts=[1, 2, 3, 4, 5], unknown=True), r'counts: got an entry for each class, but none for the unknown class')])
def test_lists_that_do_not_fit(setting, message):
    with pytest.raises(ValueError, match=message):
        settled(**setting)


def test_what_is_alike_for_all_fits_any_number_of_them():
    assert settled(class_weight=[.5] * 19) == dict(class_weight=[.5] * 3)
    assert settled(type='FocalLoss', alpha=[.25] * 2) == dict(alpha=[.25] * 3)


def test_classes_that_no_step_learns_have_entries_too():
    assert settled(seen=2, listed=7, class_weight=[*OF_ALL, .5, .6]) == dict(class_weight=[.0, .3])
    with pytest.raises(ValueError, match='got 5 entries, expected 7'):
        settled(seen=2, listed=7, class_weight=OF_ALL)


def test_the_unknown_class_has_what_a_loss_has_without_a_list():
    assert settled(unknown=True, type='FocalLoss', alpha=OF_ALL, class_weight=OF_ALL) == dict(
        alpha=[.0, .3, .1, .5], class_weight=[.0, .3, .1, 1.])


@pytest.mark.parametrize('seen, numbers, expected', [(3, [1, 2, 3], [2, 1]), (5, [4, 0], [3, 0]), (1, [0, 2], [0])])
def test_numbers_of_classes(seen, numbers, expected):
    """Those that are seen, by their numbers in learning order."""
    assert settled(seen, type='LovaszLoss', classes=numbers) == dict(classes=expected)


def test_numbers_of_classes_that_are_none():
    with pytest.raises(ValueError, match=r'loss_decode\[1\].classes: got class 5, but .* classes 0 to 4'):
        settled(type='LovaszLoss', classes=[1, 5])
    with pytest.raises(ValueError, match=r'classes: got \[2, 4\], none of which is among the first 3 classes'):
        settled(type='LovaszLoss', classes=[2, 4])


@pytest.mark.parametrize('given, expected', [(0, 0), (3, 1), (2, 255), (255, 255), (None, None), (-1, 255)])
def test_dice_leaves_out_a_class(given, expected):
    """By its number in learning order; none while it is not seen."""
    assert settled(type='DiceLoss', ignore_index=given) == dict(ignore_index=expected)


def test_pixels_that_are_ignored_have_255():
    assert settled(type='TverskyLoss', ignore_index=255) == dict(ignore_index=255)
    assert settled(type=CountsLoss, ignore_index=-100) == dict(ignore_index=-100)  # no label at all
    for setting in (dict(type='TverskyLoss', ignore_index=0), dict(type='OhemCrossEntropy', ignore_label=254)):
        with pytest.raises(ValueError, match=r'loss_decode\[1\].ignore_\w+: got \d+, expected 255'):
            settled(**setting)
    for value in (0, -100):
        with pytest.raises(ValueError, match=f'model.auxiliary_head.ignore_index: got {value}, expected 255'):
            follow_classes(dict(type='FCNHead', ignore_index=value), 'model.auxiliary_head', StepClasses(ORDER, 3, 5))


def test_boundary_heads_know_other_classes():
    loss = dict(type='CrossEntropyLoss', class_weight=[.1, .9])
    head = dict(type='STDCHead', loss_decode=dict(loss))
    follow_classes(head, 'model.auxiliary_head', StepClasses(ORDER, 3, 5))
    assert head['loss_decode'] == loss


def test_only_a_mask_head_has_a_weight_of_no_object():
    """An auxiliary head beside it has none."""
    weights = dict(type='CrossEntropyLoss', class_weight=OF_ALL)
    model = dict(type='EncoderDecoder', backbone=dict(type='ResNet'),
                 auxiliary_head=dict(type='FCNHead', loss_decode=weights), decode_head=dict(type='Mask2FormerHead', num_classes=5, loss_cls=dict(
                     type='mmdet.CrossEntropyLoss', class_weight=[*OF_ALL, .9])))
    found = stock_model(model, StepClasses(ORDER, 3, 5), 'valid')
    assert found['auxiliary_head']['loss_decode']['class_weight'] == [.0, .3, .1]
    assert found['decode_head']['loss_cls']['class_weight'] == [.0, .3, .1, .9]
    model['decode_head']['loss_cls']['class_weight'] = OF_ALL
    with pytest.raises(ValueError, match='loss_cls.class_weight: got 5 entries, expected 6: .*, and one for no object'):
        stock_model(model, StepClasses(ORDER, 3, 5), 'valid')


def test_names_of_classes_by_their_registry():
    assert is_a(dict(type='mmseg.DiceLoss'), 'DiceLoss') and is_a(dict(type=CountsLoss), 'CountsLoss')
    assert not is_a(dict(type='NoSuchLoss'), 'DiceLoss') and not is_a({}, 'DiceLoss')


def settled_steps(tmp_path, model, **changes):
    cfg = tiny_config(tmp_path, tmp_path, model=model, **changes)
    scenario = build_scenario(cfg)
    return [step_config(cfg, scenario, step).model for step in range(len(scenario))]


def test_the_losses_of_all_steps_work(tmp_path):
    """Focal, Lovasz, Dice and Tversky losses, whose lists are those of each step's logits."""
    model = tiny_model()
    model['decode_head']['loss_decode'] = [
        dict(type='FocalLoss', alpha=OF_ALL, class_weight=OF_ALL, loss_name='loss_focal'),
        dict(type='LovaszLoss', classes=[0, 2], class_weight=OF_ALL, reduction='none'),
        dict(type='TverskyLoss', class_weight=OF_ALL), dict(type='DiceLoss', ignore_index=4)]
    found = settled_steps(tmp_path, model, scenario=dict(steps=[['blue', 'red'], ['green', 'white']]), continual={})
    for channels, one in zip((3, 5), found):
        logits = torch.randn(1, channels, 4, 4)
        target = torch.arange(16).view(1, 4, 4) % channels
        target[0, 0, 0] = 255
        one_hot = torch.nn.functional.one_hot(target.clamp(max=channels), channels + 1)[..., :channels].permute(0, 3, 1, 2)
        for loss in one.decode_head.loss_decode:
            # Without a GPU the stock focal loss takes no indices.
            labels = one_hot if loss.type == 'FocalLoss' else target
            assert MODELS.build(loss)(logits, labels, ignore_index=255).isfinite().all()
    assert found[0].decode_head.loss_decode[0].alpha == [.0, .3, .1]
    assert [one.decode_head.loss_decode[1].classes for one in found] == [[0], [0, 3]]
    assert [one.decode_head.loss_decode[3].ignore_index for one in found] == [255, 4]


def test_the_method_s_own_loss_has_weights_in_the_order_of_the_data_set(tmp_path):
    loss = dict(MIB['loss_decode'], class_weight=[*OF_ALL[:4], .9])
    found = settled_steps(tmp_path, tiny_model(), continual=dict(MIB, loss_decode=loss),
                          scenario=dict(steps=[['blue'], ['white']]))
    assert found[1].decode_head.loss_decode.class_weight == [.0, .3, .9]
    with pytest.raises(ValueError, match='continual.loss_decode.class_weight: got 4 entries, expected 5'):
        settled_steps(tmp_path, tiny_model(), continual=dict(MIB, loss_decode=dict(loss, class_weight=OF_ALL[:4])))


def test_a_background_that_is_listed_elsewhere_keeps_its_entry(tmp_path):
    model = tiny_model()
    model['decode_head']['loss_decode']['class_weight'] = OF_ALL
    cfg = tiny_config(tmp_path, tmp_path, model=model)
    for role in ('train', 'test'):
        cfg[f'{role}_dataloader'].dataset.metainfo.classes = ('red', 'green', 'Background', 'blue', 'white')
    with pytest.warns(UserWarning, match="'Background', label value 2, is taken for the background"):
        scenario = build_scenario(cfg)
    assert scenario[0].seen == ('background', 'red', 'green')
    assert step_config(cfg, scenario, 1).model.decode_head.loss_decode.class_weight == [.2, .0, .1, .3]
