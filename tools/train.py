"""``mmcss train``, under the name that it has among MMSegmentation's tools."""
import sys

from mmcss_cli import main

if __name__ == '__main__':
    main(['train', *sys.argv[1:]])
