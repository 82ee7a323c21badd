"""The queue of SQS that tells which objects have arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from larder.errors import LandingUnavailableError
from larder.settings import Settings
from loaders.landing import is_taken
from loaders.s3.client import SDK_ERRORS
from loaders.s3.errors import explain
from loaders.s3.notifications import MalformedMessageError, arrived_keys
from loaders.s3.zone import make_client

LONG_POLL_SECONDS = 20
MESSAGES_AT_ONCE = 10
# A burst of arrivals is one load; what was received is hidden from others for half a minute only.
MOST_MESSAGES = 100


@dataclass(frozen=True)
class Message:
    """Hold a message: the names of the files that it tells of, and what deletes it."""

    names: frozenset[str]
    receipt: str


@dataclass
class ArrivalQueue:
    """Receive messages; one stays in the queue until it is deleted."""

    client: Any
    url: str
    bucket: str
    prefix: str
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._said: set[str] = set()

    def receive(self) -> list[Message]:
        """Wait for messages, for at most `LONG_POLL_SECONDS`, and take all that are there then.

        Raises:
            LandingError: the queue cannot be read.
        """
        messages: list[Message] = []
        seconds = LONG_POLL_SECONDS
        while len(messages) < MOST_MESSAGES:
            received = self._receive(seconds)
            messages += filter(None, map(self._read, received))
            if len(received) < MESSAGES_AT_ONCE:
                break
            seconds = 0
        return messages

    def _receive(self, seconds: int) -> list[dict[str, Any]]:
        try:
            answer = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=MESSAGES_AT_ONCE, WaitTimeSeconds=seconds
            )
        except SDK_ERRORS as error:
            raise explain(
                error, f"The queue {self.url} cannot be read", "sqs:ReceiveMessage on it"
            ) from error
        return list(answer.get("Messages", ()))

    def _read(self, received: dict[str, Any]) -> Message | None:
        """Read a message; one that cannot be read is left to the queue, which sorts it out."""
        try:
            places = arrived_keys(received["Body"])
        except MalformedMessageError:
            self._say_once(
                received["MessageId"],
                f"A message in {self.url} is no notification of S3. It is left there: give the "
                "queue a dead-letter queue, which sorts such messages out.",
            )
            return None
        names = frozenset(
            key.removeprefix(self.prefix)
            for bucket, key in places
            if bucket == self.bucket and key.startswith(self.prefix)
        )
        if places and not names:
            self._say_once(
                "elsewhere",
                f"Messages in {self.url} tell of objects that are not below LARDER_LANDING; they "
                "are deleted. Should it be so, let S3 notify for that prefix only.",
            )
        taken = frozenset(name for name in names if is_taken(name.split("/")))
        return Message(taken, received["ReceiptHandle"])

    def _say_once(self, what: str, sentence: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.say(sentence)

    def delete(self, messages: Iterable[Message]) -> None:
        """Delete messages that are done with; should that fail, they come again, and do no harm.

        Raises:
            LandingError: it is not allowed.
        """
        done = list(messages)
        for start in range(0, len(done), MESSAGES_AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(done[start : start + MESSAGES_AT_ONCE])
            ]
            try:
                self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            except SDK_ERRORS as error:
                told = explain(
                    error,
                    f"Messages of the queue {self.url} cannot be deleted",
                    "sqs:DeleteMessage on it",
                )
                if not isinstance(told, LandingUnavailableError):
                    raise told from error
                self.say(str(told))
                return


@contextmanager
def open_queue(settings: Settings, say: Callable[[str], None]) -> Iterator[ArrivalQueue]:
    """Open the queue of the settings.

    Raises:
        LandingError: the SDK's settings cannot be used.
    """
    url = settings.landing_queue
    assert url is not None
    assert settings.landing_bucket is not None
    bucket, prefix = settings.landing_bucket
    with closing(make_client("sqs", f"The queue {url} cannot be read")) as client:
        yield ArrivalQueue(client, url, bucket, prefix, say)
