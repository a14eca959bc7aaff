"""``python -m mmcss``: the command line."""
from mmcss_cli import main

if __name__ == '__main__':
    main()
