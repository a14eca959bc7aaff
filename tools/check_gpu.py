"""``mmcss check-gpu``, as a file to run."""
import sys

from mmcss_cli import main

if __name__ == '__main__':
    main(['check-gpu', *sys.argv[1:]])
