"""Installs mmcss. The OpenMMLab stack is an extra, never forced: a user's own MMSegmentation must stay as it is."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = runpy.run_path(str(ROOT / 'mmcss' / 'version.py'))['__version__']
STACKS = runpy.run_path(str(ROOT / 'mmcss' / 'stack.py'))['STACKS']

setup(
    name='mmcss',
    version=VERSION,
    description='Continual semantic segmentation for MMSegmentation',
    author='The mmcss authors',
    license='Apache-2.0',
    packages=find_packages(include=['mmcss', 'mmcss.*']),
    include_package_data=True,
    python_requires='>=3.10',
    install_requires=['torch>=2.0', 'numpy', 'packaging', 'prettytable>=3.12', 'rich', 'matplotlib>=3.8', 'pillow',
                      'pydantic>=2.6'],
    extras_require={
        # mmengine imports distutils, which Python >= 3.12 has only with setuptools.
        'onedl': [*STACKS['onedl'].values(), 'setuptools'],
        # ftfy and regex: mmseg 1.2.2 imports them and doesn't declare them. mmengine 0.10 needs pkg_resources for
        # `_base_ = ['mmseg::...']`, which setuptools 81 no longer has.
        'openmmlab': [*STACKS['openmmlab'].values(), 'setuptools<81', 'ftfy', 'regex'],
        # Models that MMSegmentation takes from other packages. Two of them need torchvision.
        'onedl-models': ['onedl-mmpretrain', 'timm', 'torchvision'],
        'openmmlab-models': ['mmpretrain', 'mmdet>=3.3,<3.4', 'timm', 'torchvision'],
        # For `mmcss export --onnx`.
        'export': ['onnx', 'onnxruntime', 'onnxscript'],
        'tests': ['pytest', 'pytest-xdist', 'hypothesis'],
        # For tools/check.sh. To the minor version: a newer one finds other things.
        'checks': ['ruff==0.17.*', 'mypy==2.4.*'],
        # cv2.saliency, for tools/prepare_saliency.py; in place of another OpenCV, whose files it overwrites.
        'saliency': ['opencv-contrib-python-headless'],
    },
)
