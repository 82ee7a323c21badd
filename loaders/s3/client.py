"""A client of the AWS SDK, with all that is the SDK's own: endpoint, region, credentials."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SDK_ERRORS = (BotoCoreError, ClientError, ValueError)


def connect(service: str, config: Config) -> Any:
    """Return a client of a service, or raise one of `SDK_ERRORS`.

    AWS_REGION, which all other SDKs read, counts before AWS_DEFAULT_REGION, the only one of boto3.
    """
    session = botocore.session.Session()
    session.register_component("data_loader", _descriptions())
    region = os.environ.get("AWS_REGION") or None
    return boto3.Session(region_name=region, botocore_session=session).client(
        service, config=config
    )


@cache
def _descriptions() -> Any:
    """The SDK's descriptions of its services, which take longer to read than all the rest."""
    return botocore.loaders.create_loader()
