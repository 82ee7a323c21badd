"""What the statements of `deploy/snowflake/` are filled in with, from the settings."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from larder.deploy.statements import setting_of
from larder.errors import DeployError
from larder.settings import Settings

# Snowflake takes no shorter one.
LEAST_KEY_BITS = 2048


def variables(settings: Settings) -> dict[str, str]:
    """Return what the files may name in `{{ }}`; what is not set is not there.

    Every value was checked against the form it must have (`Settings`, `read_public_key`), so none
    can end the literal or the name that it stands in.

    Raises:
        DeployError: a file with a public key cannot be used.
    """
    key = settings.snowflake_service_public_key_path
    found: dict[str, object] = {
        "credit_quota": settings.snowflake_credit_quota,
        "replication_minutes": settings.snowflake_replication_minutes,
        "segments_url": settings.snowflake_segments_url,
        "segments_role_arn": settings.snowflake_segments_role_arn,
        "second_account": settings.snowflake_second_account,
        "first_account": settings.snowflake_first_account,
        "service_public_key": read_public_key(key, "service_public_key") if key else None,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def read_public_key(path: Path, name: str) -> str:
    """Return the base64 text of an RSA public key in a PEM file, without its first and last line.

    Raises:
        DeployError: the file is missing or holds something else.
    """
    remedy = (
        f"Point {setting_of(name)} at the public half of an RSA key of at least {LEAST_KEY_BITS} "
        "bits, made as deploy/README.md says."
    )
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror}). {remedy}") from None
    except ValueError:
        raise DeployError(f"{path} holds no public key in PEM. {remedy}") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise DeployError(f"{path} holds no RSA key of that length. {remedy}")
    return base64.b64encode(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode("ascii")
