"""Two processes train like one that has the images of both."""
import json
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
from tests.models.makers import encoder_decoder, images, initialise, labels, move, samples, segformer
from tests.tiny import tiny_config

METHODS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods'
# Which of four images the first process has; the second has the others.
SHARES = {'uneven': 2, 'ignored': 2, 'unequal': 1}


def methods():
    """Name, step and config of each method, those that train like another left out; the last two ask for the other way."""
    found = {}
    for path in sorted(METHODS.glob('*.py')):
        cfg = method_config(path.stem)
        model = step_config(cfg, build_scenario(cfg), 1, 'work').model
        found.setdefault(json.dumps(model.to_dict(), sort_keys=True), (path.stem, 1, cfg))
    first = [(name, 0, method_config(name)) for name in ('finetune', 'lwf_mc', 'sdr', 'ssul')]
    each = [(name, 1, method_config(name, over_processes=False)) for name in ('plop', 'reminder')]
    return [*found.values(), *first, *each]


def method_config(method, **switches):
    cfg = tiny_config('data', 'work', continual={}, scenario=dict(type='ClassIncremental', base=2, increment=2))
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.merge_from_dict(dict(continual=switches, next_steps=dict(train_cfg=dict(max_epochs=1))))
    model = segformer() if method.startswith('sats') else encoder_decoder(
        auxiliary=True, backbone=dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)))
    for head in model['decode_head'], model.get('auxiliary_head', {}):
        head.update(dropout_ratio=0.)
        if not method.startswith('sats'):
            head.update(in_channels=16, in_index=1)
    cfg.model = ConfigDict(model)
    return cfg


def student(cfg, step, folder):
    """A student that has begun to learn its step, with statistics of norms that stand still."""
    scenario, config = build_scenario(cfg), step_config(cfg, build_scenario(cfg), step, folder)
    if step:
        old = build(step_config(cfg, scenario, 0, folder))
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
    """Four images and their labels; the first two have little or nothing of them, and another class than the others."""
    split = model.split
    new = list(range(max(split.num_old, 1), split.num_seen))
    other = [split.num_seen] if model.unknown else [0]
    target = torch.cat((labels([0, new[0], 255, 255, 255], 2), labels([*other, 0, 0, *new[1:]], 2, seed=1)))
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
    torch.save([train(cfg, step, f'{folder}/{rank}', rank) for _, step, cfg in methods()], f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one(tmp_path):
    context = torch.multiprocessing.spawn(one_process, (str(tmp_path), ), nprocs=2, join=False)
    expected = [train(cfg, step, str(tmp_path / 'one')) for _, step, cfg in methods()]
    while not context.join():
        pass
    for rank in range(2):
        for (name, step, cfg), alone, found in zip(methods(), expected, torch.load(tmp_path / f'{rank}.pt'), strict=True):
            for kind in SHARES:
                for what, value in alone[kind].items():
                    print(name, step, cfg.continual.get('over_processes'), kind, what, rank,
                          ((found[kind][what] - value).norm() / value.norm()).item())
