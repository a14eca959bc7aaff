"""``mmcss test``, under the name that it has among MMSegmentation's tools."""
import sys

from mmcss_cli import main

if __name__ == '__main__':
    main(['test', *sys.argv[1:]])
