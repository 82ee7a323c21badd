"""A stream of Kinesis. Endpoint, region and credentials are the AWS SDK's own, as for S3."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.config import Config

from larder.errors import BusError
from loaders.bus.buses import Limits, Record
from loaders.s3.client import SDK_ERRORS, connect
from loaders.s3.errors import reason_of

MEBIBYTE = 1024 * 1024
# A bus that does not answer holds up whoever erases and whoever ends a load, so not for long. What
# fails is tried again by the sender, which knows the order.
CLIENT = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}
)
SETTING = "LARDER_BUS (kinesis://stream)"


class KinesisBus:
    """Put messages on a stream; those of a trip come to one shard, so in order."""

    # of PutRecords, where the stream has not been allowed more
    limits = Limits(records=500, request_bytes=5 * MEBIBYTE, record_bytes=MEBIBYTE)

    def __init__(self, stream: str) -> None:
        self._stream = stream
        try:
            self._client = connect("kinesis", CLIENT)
        except SDK_ERRORS as error:
            raise self._explained(error) from error

    def put(self, records: Sequence[Record]) -> list[str | None]:
        """Put the records; Kinesis says of each whether it has it."""
        try:
            answer = self._client.put_records(
                StreamName=self._stream,
                Records=[
                    {"Data": record.body, "PartitionKey": record.partition_key}
                    for record in records
                ],
            )
        except SDK_ERRORS as error:
            raise self._explained(error) from error
        return [one.get("ErrorCode") for one in answer["Records"]]

    def _explained(self, error: Exception) -> BusError:
        why, remedy = reason_of(error, "kinesis:PutRecords on it", SETTING)
        return BusError(f"The stream {self._stream} of LARDER_BUS takes nothing: {why}. {remedy}")
