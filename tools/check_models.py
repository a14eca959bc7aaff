"""Which stock models learn step by step, and with which methods.

Walks MMSegmentation's base models and one full config of each of its families
(or the configs given): builds step 0 with six classes, lets step 1 with one
more grow from it, trains it by one batch of random images under each method,
and loads the result into the stock model, which has to predict the same.
Prints a table, as Markdown with --markdown.

Configs are named as in MMSegmentation's configs folder
(knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512) or by their path; a
base model by its name alone (stdc). No weights are fetched.
"""
from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence

import mmcss  # noqa: F401  first: it makes `_base_ = ['mmseg::...']` work under both stacks
import mmseg
from mmcss.engine.miniature import image_size
from mmcss.engine.type_names import with_named_types
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from prettytable import PrettyTable, TableStyle

from _growing import Growing, short

STOCK = Path(mmseg.__file__).parent / '.mim' / 'configs'
METHODS = ('finetune', 'lwf', 'mib', 'plop', 'ssul', 'reminder', 'sats')

# The smallest full config of families whose heads or backbones no base model has.
FULL_CONFIGS = (
    'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024',
    'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512',
    'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512',
    'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512',
    'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512',
    'mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024',
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512',
    'resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024',
    'segmenter/segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512',
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512',
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024',
    'twins/twins_svt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512',
)
NO_ATTENTION = 'the attention of'


@dataclass
class Report:
    """What was found of one model.

    Attributes:
        name: Its config.
        heads: Classes of its decode and auxiliary heads.
        grown: Class-dependent tensors that are no ``conv_seg``.
        moved: How far the logits of old classes moved when new ones were
            added, as a share of their size.
        results: For each method 'yes', or why not.
        reason: Why nothing was tried, or None.
    """

    name: str
    heads: str = ''
    grown: str = ''
    moved: Optional[float] = None
    results: Dict[str, str] = field(default_factory=dict)
    reason: Optional[str] = None
    seconds: float = 0.0


def stock_names() -> List[str]:
    """The base models, and one full config of each family that has its own."""
    return sorted(path.stem for path in (STOCK / '_base_' / 'models').glob('*.py')) + list(FULL_CONFIGS)


def load(name: str) -> Config:
    """A stock config by name or path."""
    path = Path(name)
    if path.suffix != '.py':
        path = STOCK / (f'{name}.py' if '/' in name else f'_base_/models/{name}.py')
    if not path.is_file():
        raise SystemExit(f'{name}: there is no {path}.')
    return with_named_types(Config.fromfile(str(path)))


def check(name: str, methods: Sequence[str], folder: str, size: int = 64, batch: int = 2,
          alter: Callable[[ConfigDict], ConfigDict] = lambda model: model) -> Report:
    """Let one model, as it is or altered, learn a step under each method."""
    report, start = Report(name), time.perf_counter()
    try:
        # A config may import what is not installed.
        model = alter(load(name).model)
        growing = Growing(model, max(size, image_size(model)), batch, folder)
        growing.alone()
        report.heads, report.grown, report.moved = growing.describe()
        for method in sorted(methods, key=lambda method: method == 'ssul'):  # whose model is another one, last
            report.results[method] = growing.result(method)
    except Exception as error:  # any: it is what the report is about
        report.reason = short(error)
    report.seconds = time.perf_counter() - start
    return report


def parse_args(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', help='stock configs (default: all base models and a config of each family)')
    parser.add_argument('--methods', nargs='+', default=list(METHODS), metavar='METHOD',
                        help=f'names of files in configs/_base_/methods (default: {" ".join(METHODS)})')
    parser.add_argument('--size', type=int, default=64, help='height and width of the images; some models take more')
    parser.add_argument('--batch', type=int, default=2, help='images a batch')
    parser.add_argument('--markdown', action='store_true', help='print the table as Markdown')
    return parser.parse_args(arguments)


def cell(result: Optional[str]) -> str:
    """What stands in the table for a result."""
    if result in ('yes', None):
        return result or ''
    return '-' if NO_ATTENTION in result else 'no'


def rows(reports: Sequence[Report], methods: Sequence[str]) -> Iterator[List[str]]:
    """The table's rows."""
    for report in reports:
        moved = '' if report.moved is None else 'no' if report.moved < 1e-5 else f'{report.moved:.1e}'
        yield [report.name, report.heads, report.grown, moved, *(cell(report.results.get(method)) for method in methods)]


def notes(reports: Sequence[Report]) -> Iterator[str]:
    """Why something is not 'yes', in one line each."""
    for report in reports:
        if report.reason:
            yield f'{report.name}: {report.reason}'
        reasons: Dict[str, List[str]] = {}
        for method, result in report.results.items():
            if cell(result) == 'no':
                reasons.setdefault(result, []).append(method)
        yield from (f'{report.name}, {" and ".join(refused)}: {reason}' for reason, refused in reasons.items())
    if any(cell(result) == '-' for report in reports for result in report.results.values()):
        yield 'A "-": the method reads attention, and it is not known where this backbone has it.'


def main() -> None:
    args = parse_args()
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    warnings.simplefilter('ignore')
    table = PrettyTable(['model', 'heads', 'grows besides conv_seg', 'old logits move', *args.methods], align='l')
    table.set_style(TableStyle.MARKDOWN if args.markdown else TableStyle.DEFAULT)
    reports = []
    for name in args.configs or stock_names():
        with tempfile.TemporaryDirectory() as folder:
            reports.append(check(name, args.methods, folder, args.size, args.batch))
        print(f'{name}: {reports[-1].seconds:.1f} s', flush=True)
    table.add_rows(list(rows(reports, args.methods)))
    print(table)
    print('\n'.join(['', *(f'- {note}' for note in notes(reports))]))


if __name__ == '__main__':
    main()
