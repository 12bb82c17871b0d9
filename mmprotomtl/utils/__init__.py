"""General helpers, on which all other packages may depend."""


def register_all_modules(with_scope: bool = True) -> None:
    """What mmengine calls of a package whose name it knows.

    Our registries import their modules when they are asked for one, so there
    is nothing left to register.

    Args:
        with_scope: Whether names without a prefix are ours from now on.
    """
    # The check of the requirements is in this package, and comes before.
    from mmengine.registry import init_default_scope

    if with_scope:
        init_default_scope('mmprotomtl')
