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

    The config's ``tta_pipeline`` makes several versions of each image, and its ``tta_model`` merges their predictions.
    Results go to ``result_tta.json`` of each step and to ``results_tta.json``; those of ordinary tests stay as they are.

    Raises:
        ValueError: It has no tta_model or no tta_pipeline, or is wrong otherwise.
    """

    results_file = 'results_tta.json'

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        for step in range(len(self.scenario)):
            folder = self.progress.folder(step)
            folder.result = folder.path / RESULT
        self._test_config(0)  # raises what is missing before the plan is printed

    def train(self) -> Dict[str, Any]:
        """This runner tests only."""
        raise TypeError('AugmentedTest tests only; train the steps with ContinualRunner.')

    def results(self) -> Dict[str, Any]:
        """As the ordinary ones, written to ``results_tta.json``."""
        print_once('\nwith test-time augmentation:')
        return super().results()

    def _test_config(self, step: int) -> Config:
        return augmented_config(self.configs[step], self.progress.folder(step))


def augmented_config(config: Config, folder: StepFolder) -> Config:
    """The config of a step (:func:`step_config`) with test-time augmentation, whose result goes to ``folder.result``.

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
    plain['load_from'] = None  # testing would load it over the hand-over
    # The runner writes its config into the step's folder, under a name other than the ordinary one's.
    path = Path(config.filename) if config.filename else None
    return Config(plain, cfg_text=config.text or ' ', filename=str(path.with_name(f'{path.stem}_tta.py')) if path else None)
