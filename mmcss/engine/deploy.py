"""The config with which MMSegmentation's own tools use a step's model."""
from __future__ import annotations

import copy
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set

from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from .config_nodes import walk
from .model_config import without_pretrained

# Packages that a stock installation has, or whose registries MMEngine imports by their scope.
STOCK = ('mmseg', 'mmengine', 'mmcv', 'torch', 'mmdet', 'mmpretrain')


def deployed(model: Mapping[str, Any], dataset: Mapping[str, Any], custom_imports: Mapping[str, Any],
             label_values: Sequence[int]) -> Config:
    """A config for ``init_model``, ``MMSegInferencer`` and the tools that time or draw a model.

    Args:
        model: The step's model, without the method that trains it.
        dataset: The stock data set that steps are tested on. The config has its images, but neither labels nor evaluator:
            stock MMSegmentation does not know which labels a step scores.
        custom_imports: The user's; those that the model needs are kept.
        label_values: Label value in the data set's files of each class of the model; 255 for one that it does not label.
    """
    # A user's image has no labels, and is segmented whole.
    pipeline = [dict(transform) for transform in dataset['pipeline']
                if not str(transform['type']).endswith(('LoadAnnotations', 'Crop', 'ScoreAsResized'))]
    model = without_pretrained(dict(model))
    images = dict(copy.deepcopy(dict(dataset)), pipeline=copy.deepcopy(pipeline), test_mode=True)
    if _packages([images], DATASETS) - set(STOCK):
        images = dict(type='BaseSegDataset', pipeline=images['pipeline'], test_mode=True)
    deploy: Dict[str, Any] = dict(
        default_scope='mmseg',
        label_values=list(label_values),
        model=model,
        test_pipeline=copy.deepcopy(pipeline),
        test_dataloader=dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=images),
        visualizer=dict(type='SegLocalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')]))
    if model.get('data_preprocessor'):
        deploy['data_preprocessor'] = copy.deepcopy(model['data_preprocessor'])
    packages = _packages(walk(model), MODELS) | _packages(pipeline, TRANSFORMS)
    imports = _needed(packages, custom_imports)
    if imports:
        deploy['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    return Config(deploy)


def _packages(nodes: Iterable[Mapping[str, Any]], registry: Registry) -> Set[str]:
    """The packages that define the types of some config nodes."""
    types = [node['type'] for node in nodes if isinstance(node.get('type'), str)]
    return {cls.__module__.partition('.')[0] for cls in map(registry.get, types) if cls is not None}


def _needed(packages: Set[str], custom_imports: Mapping[str, Any]) -> List[str]:
    """The imports that register the types of these packages."""
    needed = ['mmcss'] if 'mmcss' in packages else []
    if not packages - {'mmcss', *STOCK}:
        return needed
    imports = custom_imports.get('imports') or []
    imports = [imports] if isinstance(imports, str) else imports
    return needed + [name for name in imports if name.partition('.')[0] != 'mmcss']
