# Cities of Cityscapes: eleven, then five and five (PLOP). A fifth of each city is
# kept for tests, drawn once. 24 images a batch on two devices, as PLOP's scripts have.
_base_ = '../datasets/cityscapes_all.py'
train_dataloader = dict(batch_size=12)
scenario = dict(
    type='DomainIncremental',
    domains=[
        ['aachen', 'bremen', 'darmstadt', 'erfurt', 'hanover', 'krefeld', 'strasbourg', 'tubingen',
         'weimar', 'bochum', 'cologne'],
        ['dusseldorf', 'hamburg', 'jena', 'monchengladbach', 'stuttgart'],
        ['ulm', 'zurich', 'frankfurt', 'lindau', 'munster']
    ],
    rule='folder',
    test_share=0.2)
