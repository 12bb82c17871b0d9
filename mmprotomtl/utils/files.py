"""Files that are either whole or not there."""

import json
import os
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write a text file at once: a killed run leaves the old one or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    draft.write_text(text)
    os.replace(draft, path)


def write_json(path: str | Path, value: object) -> None:
    """Write JSON at once; NaN, which JSON does not have, becomes null."""
    write_text(path, json.dumps(_plain(value), indent=2) + '\n')


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
