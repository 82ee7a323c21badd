"""Take a person out of the text of one record."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, cast

from loaders.entities import Domain, Entity, Field
from loaders.erasing.person import Person
from loaders.readers.dynamodb import IMAGES, BrokenAttributeError, is_export_line, plain_image


class Cleaner:
    """Take the person out of a record's text."""

    def __init__(self, entity: Entity, person: Person) -> None:
        self.person = person
        self.removed = self.kept = 0
        self._persons = entity.persons
        self._is_about_persons = any(one.personal for one in entity.fields)
        self._texts = person.texts()
        self._mention = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(text)}(?![\w-])" for text in self._texts)
            or r"(?!)"  # of nobody nothing is looked for
        )

    def __call__(self, text: str) -> str | None:
        """Return the text without the person: unchanged, changed, or null if nothing is left."""
        record = None
        with suppress(ValueError, RecursionError):
            record = json.loads(text)
        if not isinstance(record, dict):
            return None if self._mention.search(text) else text
        if is_export_line(record):
            return self._clean_export(record, text)
        theirs = [
            one
            for one in self._persons
            if self._value(record, one) in self.person.ids.get(cast(Domain, one.person), ())
        ]
        gone = {one.person for one in theirs}
        for one in [*theirs, *(one for one in self._persons if one.goes_with in gone)]:
            if one.required or any(name.startswith("$.") for name in one.sources):
                return None
            for name in one.sources:
                record.pop(name, None)
            text = json.dumps(record, ensure_ascii=False)
        if self._is_about_persons and any(
            value in self.person.values for value in record.values() if isinstance(value, str)
        ):
            return None
        return text

    def _clean_export(self, record: dict[str, Any], text: str) -> str | None:
        """Clean a line of DynamoDB's: each of its images is a record of its own."""
        result: str | None = text
        for name in [name for name in IMAGES if name in record]:
            try:
                plain = json.dumps(plain_image(record[name]), ensure_ascii=False)
            except (BrokenAttributeError, RecursionError):
                return None if self._mention.search(text) else text
            cleaned = self(plain)
            if cleaned is None and not (name == "OldImage" and "NewImage" in record):
                return None
            if cleaned != plain:
                left = json.loads(cleaned) if cleaned else {}
                record[name] = {key: one for key, one in record[name].items() if key in left}
                result = json.dumps(record, ensure_ascii=False)
        return result

    def counted(self, text: str) -> str | None:
        """Do the same and count it."""
        result = self(text)
        self.removed += result is None
        self.kept += result is not None and result != text
        return result

    def mentions(self, text: str) -> bool:
        """Tell whether any of the person's ids and values is in the text at all, quickly."""
        return any(needle in text for needle in self._texts) or "\\u" in text

    @staticmethod
    def _value(record: dict[str, Any], one: Field) -> str | None:
        for source in one.sources:
            value: Any = record
            for name in source.removeprefix("$.").split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if value not in (None, ""):
                return str(value).removeprefix("Patient/").strip()
        return None
