"""Records that say themselves whether they are as they were written."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

RECORD_SUM = "record_sha256"
"""The field of a stored record that the rest of it is checked by; records of earlier versions have none."""


def sealed(record: Mapping[str, Any]) -> bytes:
    """Return a record as it is stored: JSON, with a checksum of the rest of it."""
    digest = hashlib.sha256(_text(record)).hexdigest()
    return _text({**record, RECORD_SUM: digest})


def unsealed(data: bytes) -> dict[str, Any] | None:
    """Return the record that `sealed` stored, without its checksum; None for one that is damaged."""
    try:
        record = json.loads(data)
    except ValueError:
        return None
    if not isinstance(record, dict) or not {"suffix", "sha256"} <= record.keys():
        return None
    digest = record.pop(RECORD_SUM, None)
    return record if digest in (None, hashlib.sha256(_text(record)).hexdigest()) else None


def _text(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode()
