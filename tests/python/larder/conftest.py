"""What the tests of the deployment share."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from snowflake_account import whole_settings

from larder.settings import Settings


@pytest.fixture(scope="session")
def public_key() -> bytes:
    """A public key in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def deployable(tmp_path: Path, public_key: bytes) -> Settings:
    """Settings with which nothing of the set-up is left out."""
    (tmp_path / "service.pub").write_bytes(public_key)
    settings: Settings = whole_settings(tmp_path / "warehouse")
    return settings
