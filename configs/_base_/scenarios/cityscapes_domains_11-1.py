# Cities of Cityscapes: eleven, then one by one.
_base_ = './cityscapes_domains_11-5.py'
scenario = dict(
    domains=[
        ['aachen', 'bremen', 'darmstadt', 'erfurt', 'hanover', 'krefeld', 'strasbourg', 'tubingen',
         'weimar', 'bochum', 'cologne'],
        'dusseldorf', 'hamburg', 'jena', 'monchengladbach', 'stuttgart', 'ulm', 'zurich', 'frankfurt', 'lindau',
        'munster'
    ])
