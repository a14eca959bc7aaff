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
    py_modules=['mmcss_cli'],
    # Configs and tools, where MMEngine and MIM look for those of a package. They are links there, to be files in a wheel.
    package_data={'mmcss': [f'.mim/{files}' for files in (
        'model-index.yml', 'configs/metafile.yml', 'configs/**/*.py', 'configs/tables/*.yaml', 'tools/*.py',
        'tools/dist_*.sh', 'tools/slurm_*.sh', 'tools/_launch.sh')], 'mmcss.report': ['templates/*']},
    entry_points={'console_scripts': ['mmcss = mmcss_cli:main']},
    python_requires='>=3.10',
    install_requires=['torch>=2.0', 'numpy', 'packaging', 'prettytable>=3.12', 'rich', 'matplotlib>=3.8', 'pillow',
                      'pydantic>=2.6', 'plotly>=6', 'jinja2'],
    extras_require={
        # mmengine imports distutils, which Python >= 3.12 has only with setuptools.
        'onedl': [*STACKS['onedl'].values(), 'setuptools'],
        # ftfy and regex: mmseg 1.2.2 imports them and doesn't declare them. mmengine 0.10 needs pkg_resources for
        # `_base_ = ['mmseg::...']`, which setuptools 81 no longer has.
        'openmmlab': [*STACKS['openmmlab'].values(), 'setuptools<81', 'ftfy', 'regex'],
        # Models that MMSegmentation takes from other packages. Two of them need torchvision.
        'onedl-models': ['onedl-mmpretrain', 'timm', 'torchvision'],
        'openmmlab-models': ['mmpretrain', 'mmdet>=3.3,<3.4', 'timm', 'torchvision'],
        'completion': ['argcomplete'],
        # For `mmcss export --onnx`.
        'export': ['onnx', 'onnxruntime', 'onnxscript'],
        'tests': ['pytest', 'pytest-xdist', 'hypothesis'],
        # For tools/check.sh. To the minor version: a newer one finds other things.
        'checks': ['ruff==0.17.*', 'mypy==2.4.*'],
        # For tools/docs.sh. mkdocs 2 has other themes and plugins.
        'docs': ['mkdocs<2', 'mkdocs-material>=9.6', 'mkdocstrings[python]>=1.0', 'latex2mathml'],
        # cv2.saliency, for tools/prepare_saliency.py; in place of another OpenCV, whose files it overwrites.
        'saliency': ['opencv-contrib-python-headless'],
    },
)
