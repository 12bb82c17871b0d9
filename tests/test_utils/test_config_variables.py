"""Settings that a config says once."""

import pytest
from mmengine.config import Config

from mmprotomtl.utils.config_variables import (
    fill_in_variables,
    set_variables,
)


def config(**settings):
    return Config(
        {
            'data_root': 'data/x',
            'size': (4, 6),
            'steps': [dict(type='Pad', size='${size}'), dict(type='Pack')],
            'backbone': dict(type='ResNet', depth=18),
            'model': dict(backbone=dict(_from_='backbone')),
            'train_dataloader': dict(
                dataset=dict(
                    data_root='${data_root}',
                    mask='${data_root}/a.pth',
                    pipeline='${steps}',
                )
            ),
            **settings,
        }
    )


def test_references_are_filled_in():
    cfg = config()
    assert set_variables(cfg, {}) == {}
    dataset = dict(
        data_root='data/x',
        mask='data/x/a.pth',
        pipeline=[dict(type='Pad', size=(4, 6)), dict(type='Pack')],
    )
    assert cfg.to_dict() == dict(
        model=dict(backbone=dict(type='ResNet', depth=18)),
        train_dataloader=dict(dataset=dataset),
    )
    # There is nothing left to do for a second time.
    again = cfg.to_dict()
    fill_in_variables(cfg)
    assert cfg.to_dict() == again


def test_options_that_name_a_setting():
    cfg = config()
    options = {
        'data_root': '/y',
        'size': (1, 2),
        'backbone.depth': 50,
        'model.backbone.frozen': True,
    }
    assert set_variables(cfg, options) == {'model.backbone.frozen': True}
    dataset = cfg.train_dataloader.dataset
    assert (dataset.data_root, dataset.mask) == ('/y', '/y/a.pth')
    assert dataset.pipeline[0].size == (1, 2)
    assert cfg.model.backbone.to_dict() == dict(type='ResNet', depth=50)


def test_a_setting_can_be_missing_until_an_option_gives_it():
    cfg = config()
    cfg.pop('data_root')
    set_variables(cfg, dict(data_root='/y'))
    assert cfg.train_dataloader.dataset.mask == '/y/a.pth'


def test_entries_beside_a_taken_over_dict_win():
    own = dict(backbone=dict(_from_='backbone', depth=34, extra=dict(a=1)))
    cfg = config(model=own)
    fill_in_variables(cfg)
    expected = dict(type='ResNet', depth=34, extra=dict(a=1))
    assert cfg.model.backbone.to_dict() == expected


def test_two_places_do_not_share_what_they_are_given():
    cfg = config(val_dataloader=dict(pipeline='${steps}'))
    fill_in_variables(cfg)
    cfg.val_dataloader.pipeline[0].size = None
    assert cfg.train_dataloader.dataset.pipeline[0].size == (4, 6)


def test_variables_of_a_user_are_left_alone():
    # As in configs that do not refer to their settings by name.
    cfg = Config(
        dict(batch_size=2, temperature=1.0, train_dataloader=dict(a=3))
    )
    before = cfg.to_dict()
    fill_in_variables(cfg)
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        # No reference: what could be meant is named.
        ('depth', 'set model.backbone.depth instead'),
        ('mask', 'set train_dataloader.dataset.mask instead'),
        ('modle.backbone.x', 'did you mean model'),
        ('data_rot', 'did you mean data_root'),
        ('qqq', 'the settings are'),
    ],
)
def test_options_that_act_nowhere_are_refused(option, words):
    cfg = config(model=dict(backbone=dict(type='ResNet', depth=18)))
    with pytest.raises(ValueError, match=f'{option}=5.*{words}'):
        set_variables(cfg, {option: 5})


def test_a_setting_that_nothing_refers_to_is_refused():
    cfg = config()
    cfg.train_dataloader.dataset.pipeline = []
    with pytest.raises(ValueError, match='size=3: this config has no such'):
        set_variables(cfg, dict(size=3))


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(model='${nothing}'), "model refers to 'nothing', but"),
        (dict(model=dict(a=[1, '${b}'])), r"model\.a\.1 refers to 'b'"),
        (dict(model='${a}', a='${b}', b='x${a}'), 'refers to itself'),
        (dict(model='x/${size}'), r'size is \(4, 6\), and only a string'),
        (dict(model=dict(_from_='size')), 'size is .*, and not a dict'),
        (dict(model=dict(_from_='nothing')), "refers to 'nothing'"),
    ],
)
def test_wrong_references_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        fill_in_variables(config(**settings))
