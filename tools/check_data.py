"""``mmcss check-data``, as a file to run."""
import sys

from mmcss_cli import main

if __name__ == '__main__':
    main(['check-data', *sys.argv[1:]])
