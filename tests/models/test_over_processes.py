"""Two processes train like one that has the images of both."""
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmcss.engine import build_scenario, step_config
from mmcss.engine.folders import StepFolder
from mmcss.losses import LatentShaping
from mmcss.models import save_hand_over
from mmcss.models.over_processes import divided_by, weight_of
from tests.models.makers import encoder_decoder, images, initialise, labels, move, samples, segformer
from tests.tiny import tiny_config

METHODS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods'
# Which of four images the first process has; the second has the others.
SHARES = {'uneven': 2, 'ignored': 2, 'unequal': 1}
ROUNDING = 16 * torch.finfo(torch.float32).eps
WEIGHTS = dict(loss_decode=dict(class_weight=[1., 3., .5, 2., .2]))
# What no method's file asks for: method, step, and changes of its config.
VARIANTS = [
    ('finetune', 0, {}), ('lwf_mc', 0, {}), ('sdr', 0, {}), ('ssul', 0, {}),
    ('finetune', 1, dict(continual=dict(average='all'))),
    ('finetune', 1, dict(model=dict(decode_head=WEIGHTS))),
    ('finetune', 1, dict(model=dict(decode_head=dict(loss_decode=dict(use_sigmoid=True))))),
    ('finetune', 1, dict(model=dict(decode_head=dict(type='DAHead', pam_channels=8)))),
    ('mib', 1, dict(model=dict(decode_head=WEIGHTS))),
    ('online_em', 1, dict(continual=dict(average='all'))),
    ('reminder', 1, dict(continual=dict(losses=dict(csw_kd=dict(every_pixel=True))))),
]
# Each process by itself, and how far it then is from one process at least. With average='all' the heads' losses are
# alike, and what differs are the methods' own means.
ALONE = dict(over_processes=False, average='all')
BY_THEMSELVES = [
    ('plop', 1, dict(continual=dict(over_processes=False)), 1e-2),
    ('reminder', 1, dict(continual=ALONE), 1e-5),
    ('sdr', 1, dict(continual=ALONE), 1e-4),
    ('online_em', 1, dict(continual=dict(over_processes=False)), 1e-2),
]


def cases():
    """Name, step and config; of methods that train alike the first."""
    found = {}
    for path in sorted(METHODS.glob('*.py')):
        cfg = method_config(path.stem)
        model = step_config(cfg, build_scenario(cfg), 1).model
        found.setdefault(json.dumps(model.to_dict(), sort_keys=True), (path.stem, 1, cfg))
    others = [(name, step, method_config(name, changes)) for name, step, changes, *_ in (*VARIANTS, *BY_THEMSELVES)]
    return [*found.values(), *others]


def method_config(method, changes=None):
    cfg = tiny_config('data', 'work', continual={}, scenario=dict(type='ClassIncremental', base=2, increment=2))
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.merge_from_dict(dict(next_steps=dict(train_cfg=dict(max_epochs=1))))
    cfg.model = ConfigDict(segformer() if method.startswith('sats') else small_resnet())
    cfg.merge_from_dict(changes or {})
    cfg.model.decode_head.dropout_ratio = 0.
    if cfg.model.decode_head.type == 'DAHead':
        for key in ('num_convs', 'concat_input'):
            del cfg.model.decode_head[key]
    return cfg


def small_resnet():
    model = encoder_decoder(
        auxiliary=True, backbone=dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)))
    for head in model['decode_head'], model['auxiliary_head']:
        head.update(in_channels=16, in_index=1, dropout_ratio=0.)
    return model


def student(cfg, step, folder):
    """A student that has begun to learn its step, with statistics of norms that stand still."""
    cfg.work_dir = folder
    scenario, config = build_scenario(cfg), step_config(cfg, build_scenario(cfg), step)
    if step:
        old = build(step_config(cfg, scenario, 0))
        hand_over = StepFolder(folder, 0).hand_over
        hand_over.parent.mkdir(parents=True, exist_ok=True)
        save_hand_over(hand_over, old.state_dict(), dict(classes=list(scenario[0].seen)))
    model = build(config).train()
    move(model, 2, .05)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    initialise(model)
    return model


def what_is_left(part):
    """What the step before, or a pass before this one, has given a part."""
    generator = torch.Generator().manual_seed(3)
    return dict(
        EntropyPseudoLabels=dict(thresholds=torch.full((1, 3), 1.)),
        ClassSimilarityWeightedKD=dict(prototypes=torch.rand(3, 8, generator=generator), channels=torch.full((3, ), 8)),
        LatentShaping=dict(prototypes=torch.rand(3, 16, generator=generator).double(),
                           counts=torch.tensor([0., 50, 20]).double())).get(type(part).__name__)


def batch(kind, model):
    """Four images and their labels; the first two have little or nothing of them, and not all classes."""
    split = model.split
    new = list(range(max(split.num_old, 1), split.num_seen))
    other = [split.num_seen] if model.unknown else [0]
    target = torch.cat((labels([0, new[0], 255, 255, 255], 2), labels([*other, 0, 0, *new], 2, seed=1)))
    if kind == 'ignored':
        target[:2] = 255
    data = samples(target)
    for sample in data:
        sample.labelled = torch.isin(torch.arange(split.num_seen), torch.tensor(new))
    return images(4), data


def train(cfg, step, folder, rank=None):
    """For each kind of batch the gradients of an iteration, and prototypes that enter what is known of the step before."""
    model = student(cfg, step, folder)
    wrapped = model if rank is None else DistributedDataParallel(model)
    return {kind: iteration(model, wrapped, kind, {None: slice(None), 0: slice(first), 1: slice(first, None)}[rank])
            for kind, first in SHARES.items()}


def iteration(model, wrapped, kind, share):
    inputs, data = batch(kind, model)
    model.zero_grad()
    for part in model.method.parts.values():
        left = what_is_left(part)
        if left and model.split.step:
            part.load_state_dict(left)
    losses = wrapped(inputs[share], data[share], mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    found = dict(gradients=torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    shaping = [part for part in model.method.parts.values() if isinstance(part, LatentShaping)]
    for part in shaping:
        part.before_update()
        found['prototypes'] = part.prototypes.flatten().float()
    return found


def one_process(rank, folder):
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    torch.save([train(cfg, step, f'{folder}/{rank}', rank) for _, step, cfg in cases()], f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path):
    """Gradients of one iteration, to rounding: four images, of which one process has few labels, none, or few images."""
    context = torch.multiprocessing.spawn(one_process, (str(tmp_path), ), nprocs=2, join=False)
    expected = [train(cfg, step, str(tmp_path / 'one')) for _, step, cfg in cases()]
    while not context.join():
        pass
    of_processes = zip(*(torch.load(tmp_path / f'{rank}.pt') for rank in range(2)), strict=True)
    far = [(name, step, {kind: max(distance(of_one[kind], alone[kind]) for of_one in found) for kind in SHARES})
           for (name, step, _), alone, found in zip(cases(), expected, of_processes, strict=True)]
    together, apart = far[:-len(BY_THEMSELVES)], far[-len(BY_THEMSELVES):]
    assert [one for one in together if max(one[2].values()) > ROUNDING] == []
    assert [one for one, (*_, least) in zip(apart, BY_THEMSELVES) if one[2]['uneven'] < least] == []


def distance(found, expected):
    """The largest relative one of what :func:`iteration` finds."""
    assert found.keys() == expected.keys()
    return max(((found[key] - expected[key]).norm() / expected[key].norm()).item() for key in expected)


@pytest.mark.parametrize('config, kind', [
    (dict(type='CrossEntropyLoss'), 'images'), (dict(type='CrossEntropyLoss', avg_non_ignore=True), 'pixels'),
    (dict(type='CrossEntropyLoss', class_weight=[1., 2.]), 'weights'),
    (dict(type='CrossEntropyLoss', class_weight=[1., 2.], use_sigmoid=True, avg_non_ignore=True), 'pixels'),
    (dict(type='UnbiasedCrossEntropyLoss', num_old=1, class_weight=[1., 2.]), 'pixels'),
    (dict(type='UnbiasedCrossEntropyLoss', num_old=1, average='all'), 'images')])
def test_what_a_loss_is_divided_by(config, kind):
    assert divided_by(MODELS.build(config)) == kind


def test_weight_of_labels():
    label = torch.tensor([[[0, 1], [1, 255]]])
    assert weight_of(label, 255).item() == 3
    assert weight_of(label, 255, [.5, 2.]).item() == 4.5
    assert weight_of(torch.full((1, 2, 2), 255), 255, [.5, 2.]).item() == 0


def pretend_two(monkeypatch, images, pixels):
    """Another process has these; the exchange gives means of both."""
    def all_reduce(data, op):
        assert op == 'mean'
        data.add_(torch.tensor([images, pixels], dtype=data.dtype)).div_(2)

    monkeypatch.setattr('mmcss.losses.reduce.all_reduce', all_reduce)
    monkeypatch.setattr('mmcss.models.segmentors.get_world_size', lambda: 2)


def test_one_exchange_serves_the_heads(monkeypatch, tmp_path):
    """1 image of 256 labelled pixels here, 3 of 1792 in all there: this one's mean counts 1/4 of twice itself."""
    cfg = method_config('finetune')
    model = student(cfg, 1, str(tmp_path))
    target = torch.full((1, 32, 32), 255)
    target[:, :8] = 3
    alone = model(images(1), samples(target), mode='loss')
    pretend_two(monkeypatch, 3, 1792)
    found = model(images(1), samples(target), mode='loss')
    for name in ('decode.loss_ce', 'aux.loss_ce'):
        assert found[name].item() == pytest.approx(alone[name].item() * 256 / 1024)
    again = model(images(1), samples(target), mode='loss')  # no hook has stayed
    assert again['decode.loss_ce'].item() == pytest.approx(found['decode.loss_ce'].item())
    assert found['decode.acc_seg'] == alone['decode.acc_seg']


def test_one_process_and_those_by_themselves_exchange_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr('mmcss.models.over_processes.averaged', None)
    model = student(method_config('finetune'), 1, str(tmp_path))
    model(images(1), samples(labels([0, 3], 1)), mode='loss')
    monkeypatch.setattr('mmcss.models.segmentors.get_world_size', lambda: 2)
    model.learning = replace(model.learning, over_processes=False)
    model(images(1), samples(labels([0, 3], 1)), mode='loss')
