"""Stock models that grow from step 0 to step 1, for the tool that walks them and its tests."""
from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import torch
from mmcss.engine import build_scenario, deploy_config, step_config
from mmcss.engine.folders import StepFolder
from mmcss.engine.miniature import for_small_images
from mmcss.engine.config_nodes import walk
from mmcss.files import plain
from mmcss.models import load_hand_over, save_hand_over
from mmcss.models.growth import growing_tensors
from mmcss.models.heads import decode_heads
from mmcss.models.initialisation import CheapInitialisation
from mmcss.models.teacher import predict
from mmcss.parts import Needs
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn

from _random_step import prepare, random_batch, train

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / '_base_'
# What a stock model needs that is not installed here: what its error says, and what to call it.
MISSING = (
    (r'mmcv\._ext|Please install \S*mmcv\S* for \w+ ops', "needs mmcv's compiled operators"),
    # What MMSegmentation's mask heads inherit from where mmdet's are not to be had.
    (r'BaseModule.__init__\(\) got an unexpected keyword argument', 'needs mmdet'),
    (r"Failed to import custom modules from .*?'imports': \[?'(\w+)", r'needs \1'),
)


class Growing:
    """A stock model at step 0, of which students under several methods start.

    Args:
        model: Config of the stock model.
        size: Height and width of the images.
        batch: Number of images.
        folder: Where hand-overs go.
    """

    def __init__(self, model: Config, size: int, batch: int, folder: str) -> None:
        self.model = model
        self.size = size
        self.batch = partial(random_batch, batch, size, size, device='cpu')
        self.folder = folder
        # What several methods share, of models with or without an unknown channel: building large ones takes time.
        self.unknown: Optional[bool] = None
        self.old: Optional[nn.Module] = None
        self.teacher: Optional[nn.Module] = None
        self.shapes: Dict[str, torch.Size] = {}

    def describe(self) -> Tuple[str, str, float]:
        """Heads, class-dependent tensors, and how far old logits move by growth."""
        old, student = self.step('finetune')
        heads = [type(head).__name__ for head in decode_heads(student)]
        auxiliary = getattr(student, 'auxiliary_head', None)
        auxiliary = [] if auxiliary is None else auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]
        heads += [f'({type(head).__name__})' for head in auxiliary]
        _, axes = growing_tensors(student, old.state_dict(), old.split.num_seen)
        grown = {key.rsplit('.', 1)[0] if key.endswith(('weight', 'bias')) else key for key in (*axes.rows, *axes.columns)}
        before, after = (logits(model, self.batch(model.split)['inputs']) for model in (old, student))
        moved = (after[:, :before.shape[1]] - before).abs().max() / before.abs().max()
        plain_ones = [name for name in grown if re.fullmatch(r'(decode|auxiliary)_head(\.\d+)?\.conv_seg', name)]
        return ' '.join(dict.fromkeys(heads)), ' '.join(sorted(grown - set(plain_ones))), float(moved)

    def step(self, method: str, student: bool = True) -> Tuple[nn.Module, Optional[nn.Module]]:
        """The model of step 0 and, if asked for, the student of step 1."""
        self.cfg = step_zero_config(self.model, method, self.size)
        self.scenario = build_scenario(self.cfg)
        unknown = bool(self.cfg.get('continual', {}).get('unknown'))
        folder = f'{self.folder}/{unknown}'
        self.cfg.work_dir = folder
        configs = [step_config(self.cfg, self.scenario, step) for step in (0, 1)]
        self.hand_over = StepFolder(folder, 0).hand_over
        if unknown != self.unknown:
            self.unknown, self.old, self.teacher, self.shapes = unknown, None, None, {}
            self.old = build(configs[0])
            spread(self.old)
            self.hand_over.parent.mkdir(parents=True, exist_ok=True)
            save_hand_over(self.hand_over, self.old.state_dict(), dict(classes=list(self.scenario[0].seen)))
        old = self.old
        # What parts leave at the end of step 0 is this method's.
        old.method = type(old.method)(old.split, configs[0].model.continual.get('targets'),
                                      configs[0].model.continual.get('losses'))
        if not student:
            return old, None
        with CheapInitialisation():
            student = build(configs[1])
            if student.teacher is not None:
                student.teacher.model = self.teacher
                self.teacher = student.teacher.build(torch.device('cpu'))
        return old, student

    def alone(self) -> None:
        """One update of step 0, as the stock model would train.

        Raises:
            ValueError: It can't; what follows would not be about mmcss.
        """
        old, _ = self.step('finetune', student=False)
        try:
            train(old.train(), self.batch(old.split))
        except Exception as error:
            raise ValueError(f'does not train by itself: {short(error)}') from error
        self.restore()

    def restore(self) -> None:
        """Put the model of step 0 back to what it handed over."""
        self.old.load_state_dict(load_hand_over(self.hand_over)['state_dict'])
        self.old.zero_grad()

    def result(self, method: str) -> str:
        """'yes' if :meth:`train` goes well, else why not."""
        try:
            self.train(method)
        except Exception as error:
            return short(error)
        return 'yes'

    def train(self, method: str) -> None:
        """One update of step 1, and a reload in the stock model."""
        old, student = self.step(method)
        prepare(student.train(), old, self.batch)
        self.restore()
        loss = train(student, self.batch(student.split))
        if not torch.isfinite(loss):
            raise ValueError(f'the loss is {loss.item()}')
        trained = {name: parameter for name, parameter in student.named_parameters() if parameter.requires_grad}
        without = [name for name, parameter in trained.items() if parameter.grad is None]
        if without:
            raise ValueError(f'{len(without)} parameters have no gradient, such as {without[0]}')
        # Some start with gradients of many millions.
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        torch.optim.SGD(trained.values(), lr=1e-3).step()
        student.zero_grad()
        shapes = {name: value.shape for name, value in student.state_dict().items()}
        if not self.shapes:
            self.compare(student)
            self.shapes = shapes
        if shapes != self.shapes:
            raise ValueError('its tensors are not those of the stock model')

    def compare(self, student: nn.Module) -> None:
        """Load a student into the stock model, which has to predict the same."""
        with CheapInitialisation():
            stock = revert_sync_batchnorm(MODELS.build(deploy_config(self.cfg, self.scenario, 1).model))
        stock.load_state_dict(student.state_dict(), strict=True)
        inputs = self.batch(student.split)['inputs']
        expected, predicted = (whole(model, inputs) for model in (student, stock))
        if not (expected - predicted).abs().max() <= 1e-5 * expected.abs().max():  # nor where one is not finite
            raise ValueError('the predictions of the stock model differ from those of the student')


def step_zero_config(model: Config, method: str, size: int) -> Config:
    """A config of shapes8 5-1 with a stock model and a method; no data is read."""
    base = Config.fromfile(str(CONFIGS / 'scenarios' / 'shapes8_5-1.py'))
    for part in ('schedules/shapes8.py', f'methods/{method}.py'):
        base.merge_from_dict(Config.fromfile(str(CONFIGS / part))._cfg_dict.to_dict())
    settings = base._cfg_dict.to_dict()
    settings['model'] = small(plain(model), size)
    return Config(settings)


def small(model: Dict[str, Any], size: int) -> Dict[str, Any]:
    """A stock model for small images of nine classes on any device, without weights to fetch."""
    model = for_small_images(model, size)
    if (model.get('test_cfg') or {}).get('mode') == 'slide':  # base models hold a place for the sizes of leaf configs
        model['test_cfg'] = dict(mode='slide', crop_size=(size, size), stride=(size * 2 // 3, size * 2 // 3))
    for node in walk(model):
        if isinstance(node.get('class_weight'), (list, tuple)):  # of another data set's classes
            node['class_weight'] = list(node['class_weight'])[:9]
    model['data_preprocessor'] = None
    return model


def build(config: Config) -> nn.Module:
    """A model as a Runner starts with it, on one process."""
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(config.model))
    model.init_weights()
    return model.eval()


@torch.no_grad()
def spread(model: nn.Module) -> None:
    """Classifiers start near 0: give them logits that are worth comparing."""
    for name, parameter in model.named_parameters():
        if name.endswith(('conv_seg.weight', 'cls_embed.weight')):
            parameter.normal_(0, 0.1)


def logits(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the decode head says."""
    torch.manual_seed(0)  # of heads that draw at each call
    with torch.no_grad():
        return predict(model.eval(), inputs, tuple(inputs.shape[2:]), Needs()).head_logits


def whole(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What ``predict`` gives, sliding windows included."""
    torch.manual_seed(0)
    with torch.no_grad():
        return torch.stack([sample.seg_logits.data for sample in model.eval().predict(inputs)])


def short(error: BaseException) -> str:
    """An error in one line; what is not installed, by its name."""
    text = ' '.join(str(error).split())
    for pattern, meaning in MISSING:
        match = re.search(pattern, text)
        if match:
            return match.expand(meaning)
    return f'{type(error).__name__}: {text[:200]}' if not isinstance(error, ValueError) else text[:240]
