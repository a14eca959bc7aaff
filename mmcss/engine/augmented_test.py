"""Tests with test-time augmentation."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from mmengine.config import Config

from .continual_runner import ContinualRunner
from .distributed import print_once
from .folders import StepFolder
from .stated_classes import leaf_configs

RESULT = 'result_tta.json'


class AugmentedTest(ContinualRunner):
    """Tests trained steps as MMSegmentation's ``tools/test.py --tta`` does.

    Each image is predicted in the ways that the config's ``tta_pipeline``
    says, and its ``tta_model`` merges them. That is another kind of test: its
    results are ``result_tta.json`` of each step and ``results_tta.json``, and
    the ordinary ones stay as they are.

    Args:
        cfg: The user's config.

    Raises:
        ValueError: It has no tta_model or no tta_pipeline, or is wrong otherwise.
    """

    results_file = 'results_tta.json'

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        for step in range(len(self.scenario)):
            folder = self.progress.folder(step)
            folder.result = folder.path / RESULT
        self._test_config(0)  # or what is missing would be told after the plan

    def train(self) -> Dict[str, Any]:
        """Not here."""
        raise TypeError('AugmentedTest tests what ContinualRunner has trained.')

    def results(self) -> Dict[str, Any]:
        """As the ordinary ones, written to ``results_tta.json``."""
        print_once('\nwith test-time augmentation:')
        return super().results()

    def _test_config(self, step: int) -> Config:
        return augmented_config(self.configs[step], self.progress.folder(step))


def augmented_config(config: Config, folder: StepFolder) -> Config:
    """The plain config of a step that tests with test-time augmentation.

    Args:
        config: The step's (:func:`step_config`).
        folder: The step's; its ``result`` is where the result goes.

    Raises:
        ValueError: There is no tta_model or no tta_pipeline.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not config.get(key)]
    if missing:
        raise ValueError(f"--tta: the config has no {' and no '.join(missing)}. Take tta_model=dict(type='SegTTAModel') and "
                         'a tta_pipeline with TestTimeAug, as in configs/_base_/default_runtime.py and '
                         'configs/_base_/datasets.')
    plain: Dict[str, Any] = config._cfg_dict.to_dict()
    plain['model'] = dict(plain['tta_model'], module=plain['model'])
    for leaf in leaf_configs(plain['test_dataloader']['dataset']):
        leaf['pipeline'] = plain['tta_pipeline']
    for hook in plain['custom_hooks']:
        if hook['type'] == 'ResultHook':
            hook['path'] = str(folder.result)
    plain['load_from'] = None  # or testing would load it over the hand-over
    # A runner writes its config into the step's folder, where the ordinary one is to stay.
    path = Path(config.filename) if config.filename else None
    return Config(plain, cfg_text=config.text or ' ', filename=str(path.with_name(f'{path.stem}_tta.py')) if path else None)
