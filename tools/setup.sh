#!/usr/bin/env bash
# Installs mmcss, what its tests, checks and documentation need, and an OpenMMLab stack.
#
#   tools/setup.sh [--stack onedl|openmmlab] [--gpu|--cpu]
#
# Into the active virtual or conda environment; without one into .venv (.venv-openmmlab for that stack), made here.
# --stack  onedl (default): prebuilt, for a current torch. openmmlab: the originals; builds mmcv with its ops (minutes).
#          An environment that holds one of them already keeps it.
# --gpu, --cpu  which torch to install; default: --gpu where nvidia-smi works. An installed torch is left alone.
#
# Quick when everything is in place. The last line, alone on stdout, is the python to use: see tools/_env.sh.
set -euo pipefail

TORCH=torch==2.13.0
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
MMCV=mmcv==2.1.0
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/mmcss/wheels

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec 3>&1 1>&2 # everything but the last line goes to stderr
export PIP_DISABLE_PIP_VERSION_CHECK=1

stages=3
stage() { echo "[setup $1/$stages] $2"; }
die() {
    echo "[setup] error: $*"
    exit 1
}
pip() { "$PYTHON" -m pip "$@"; }
install() { pip install -qq "$@"; } # -qq: errors, no warnings
# Does pip find a version? Without retries, since an index that is out of reach would cost minutes.
resolves() { pip install -qqq --dry-run --no-deps --retries 0 --timeout 15 "$@" 2>/dev/null; }
# python -I: what is installed, not what lies in the current folder.
version_of() { "$PYTHON" -Ic 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$1" 2>/dev/null; }

# --- what is asked for
stack='' device=''
while [ $# -gt 0 ]; do
    case $1 in
        --stack)
            [ $# -gt 1 ] || die "--stack needs a name: onedl or openmmlab"
            stack=$2
            shift
            ;;
        --gpu | --cpu) device=${1#--} ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' tools/setup.sh && exit ;;
        *) die "unknown option '$1'. Usage: tools/setup.sh [--stack onedl|openmmlab] [--gpu|--cpu]" ;;
    esac
    shift
done
case $stack in '' | onedl | openmmlab) ;; *) die "unknown stack '$stack': onedl or openmmlab" ;; esac
if [ -z "$device" ]; then
    if nvidia-smi >/dev/null 2>&1; then device=gpu; else device=cpu; fi
fi

# --- the environment
active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [ -n "$active" ]; then
    env=$active
elif [ "$stack" = openmmlab ]; then
    env=$PWD/.venv-openmmlab
else
    env=$PWD/.venv
fi
PYTHON=$env/bin/python
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

make_env() {
    local base=''
    for base in python3.11 python3.12 python3.10 python3 ''; do
        if [ -n "$base" ] && new_enough "$base"; then break; fi
    done
    [ -n "$base" ] || die "no Python >= 3.10 found (looked for python3.11, python3.12, python3.10, python3). Install one, or activate an environment that has it."
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$base has no venv module. Install it (Debian, Ubuntu: apt install $base-venv), or activate an environment."
    "$base" -m venv "$env"
    install 'pip>=22.3' # for --dry-run
}

# What this set-up depends on, written into the environment when it is finished.
finished=$env/.mmcss-setup
fingerprint() { echo "$PWD $1 $(cat setup.py pyproject.toml mmcss/stack.py mmcss/version.py tools/setup.sh | cksum)"; }
importable() {
    "$PYTHON" -Ic 'import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' "$@" 2>/dev/null
}

installed=none
if new_enough "$PYTHON"; then
    installed=$("$PYTHON" -I mmcss/stack.py) || die "an installed stack is never changed here: do it by hand, or use another environment"
elif [ -n "$active" ]; then
    die "the active environment $env has no Python >= 3.10. Use another, or deactivate it to get a .venv here."
fi
if [ "$installed" != none ]; then
    if [ "${stack:-$installed}" != "$installed" ]; then
        die "$env holds the $installed stack, and the two stacks overwrite each other's files." \
            "Use another environment, or uninstall mmengine, mmcv and mmsegmentation of $installed first."
    fi
    stack=$installed
fi
stack=${stack:-onedl}
[ "$stack" = onedl ] || stages=4

if [ "$(cat "$finished" 2>/dev/null)" = "$(fingerprint "$stack")" ] &&
    importable mmcss torch mmengine mmcv mmseg pytest xdist pydantic hypothesis ruff mypy mkdocs material mkdocstrings latex2mathml; then
    echo "[setup] in place: $env ($stack stack, torch $(version_of torch))"
    echo "$PYTHON" >&3
    exit
fi

stage 1 "environment $env"
if ! new_enough "$PYTHON" || ! pip --version >/dev/null 2>&1; then
    [ -z "$active" ] || die "the active environment $env has no pip: run $PYTHON -m ensurepip"
    make_env
fi

# --- torch
install_torch() {
    if [ "$device" = gpu ] || [ "$(uname -s)" != Linux ]; then
        install "$TORCH"
    elif resolves "$TORCH+cpu"; then
        install "$TORCH+cpu"
    elif resolves "$TORCH+cpu" --extra-index-url "$TORCH_CPU_INDEX"; then
        install "$TORCH+cpu" --extra-index-url "$TORCH_CPU_INDEX"
    else
        echo "[setup] no CPU build of torch in reach; installing plain $TORCH, which may bring its CUDA libraries"
        install "$TORCH"
    fi
}
if version=$(version_of torch); then
    stage 2 "torch $version is installed, left as it is"
else
    stage 2 "$TORCH for $device (large: may take minutes)"
    install_torch
fi

# --- mmcv of the originals: no wheel on the index for a current torch, so build one and keep it
build_mmcv() {
    local key wheels
    key=$("$PYTHON" -c 'import sys, torch
print("py%d%d-torch%s" % (*sys.version_info[:2], torch.__version__) + "-gpu" * torch.cuda.is_available())')
    wheels=$CACHE/$key
    if ! ls "$wheels"/mmcv-*.whl >/dev/null 2>&1; then
        command -v gcc >/dev/null && command -v g++ >/dev/null ||
            die "building mmcv needs gcc and g++ (Debian, Ubuntu: apt install gcc g++), or use --stack onedl"
        "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.isfile(sysconfig.get_paths()["include"] + "/Python.h"))' ||
            die "building mmcv needs Python's headers (Debian, Ubuntu: apt install python3-dev), or use --stack onedl"
        "$PYTHON" -c 'import sys, torch.utils.cpp_extension as c; sys.exit(c.torch.cuda.is_available() and not c.CUDA_HOME)' ||
            die "this torch has CUDA, so building mmcv needs the CUDA toolkit (nvcc; set CUDA_HOME), or a CPU torch, or --stack onedl"
        echo "[setup] building $MMCV with its ops once, into $wheels (about 10 minutes)"
        # mmcv's setup.py imports torch (hence no isolation), pkg_resources (gone from setuptools 81) and psutil.
        install 'setuptools<81' wheel ninja psutil
        rm -rf "$wheels.tmp" # a build that was stopped must not be taken for a finished one
        # No pip cache: it may hold a wheel without ops, or one built for another torch.
        MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-2} \
            pip wheel -qq --no-cache-dir --no-build-isolation --no-deps -w "$wheels.tmp" "$MMCV"
        mkdir -p "$wheels"
        mv "$wheels.tmp"/mmcv-*.whl "$wheels"/
        rm -rf "$wheels.tmp"
    fi
    mmcv_wheel=$(ls "$wheels"/mmcv-*.whl | tail -n 1)
}
mmcv_wheel=''
if [ "$stack" = openmmlab ]; then
    if version=$(version_of mmcv); then
        stage 3 "mmcv $version is installed, left as it is"
    else
        stage 3 "$MMCV with its ops"
        build_mmcv
    fi
fi

stage $stages "mmcss, its tests, checks and documentation, and the $stack stack"
install ${mmcv_wheel:+"$mmcv_wheel"} -e ".[$stack,tests,checks,docs]"
fingerprint "$stack" >"$finished"

echo "[setup] done.$([ -n "$active" ] || echo " To use it: source ${env#"$PWD"/}/bin/activate")"
echo "$PYTHON" >&3
