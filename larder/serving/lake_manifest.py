"""What stands in the lake beside the tables: which generation it is, of which tables and files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from larder.errors import WarehouseError
from larder.serving.lake_tables import LakeColumn, LakeFile, LakeTable
from larder.serving.places import Place

CURRENT = "current.json"
VERSION = 2
# Its files were named below the generation, and none was shared by two.
FIRST_VERSION = 1


@dataclass(frozen=True)
class LakeGeneration:
    """Describe a generation of the lake; `prefix` is where its tables lie, instants are UTC."""

    generation: str
    prefix: str
    published_at: datetime
    as_of_at: datetime | None
    tables: tuple[LakeTable, ...]

    def to_json(self) -> str:
        """Write it as the manifest that stands in the lake."""
        tables = [
            {"rows": table.rows}
            | {name: value for name, value in asdict(table).items() if name != "comments"}
            for table in self.tables
        ]
        content = {
            "version": VERSION,
            "generation": self.generation,
            "prefix": self.prefix,
            "published_at": self.published_at.isoformat(),
            "as_of_at": self.as_of_at.isoformat() if self.as_of_at else None,
            "tables": tables,
        }
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: bytes, url: str) -> LakeGeneration:
        """Read a manifest.

        Raises:
            WarehouseError: it is none, or of a later version.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found["version"] not in (FIRST_VERSION, VERSION):
                raise ValueError
            if found["version"] == FIRST_VERSION:
                _name_from_the_lake(found)
            return cls(
                found["generation"],
                found["prefix"],
                datetime.fromisoformat(found["published_at"]),
                datetime.fromisoformat(found["as_of_at"]) if found["as_of_at"] else None,
                tuple(
                    LakeTable(
                        one["name"],
                        tuple(LakeColumn(**column) for column in one["columns"]),
                        tuple(LakeFile(**file) for file in one["files"]),
                        one["partition"],
                    )
                    for one in found["tables"]
                ),
            )
        except (ValueError, KeyError, TypeError):
            raise WarehouseError(
                f"{url} is not the manifest of a lake as this version of Larder writes it. Move it "
                "away and run `larder publish`, which writes it anew."
            ) from None


def _name_from_the_lake(found: dict[str, Any]) -> None:
    for table in found["tables"]:
        table["files"] = [
            {
                "name": f"{found['prefix']}/{file['name']}",
                "rows": file["rows"],
                "size_bytes": file["size_bytes"],
                "fingerprint": "",  # never taken for one that is written anew
                "partition": file["month"],
            }
            for file in table["files"]
        ]


def read_current(place: Place) -> LakeGeneration | None:
    """Return the generation that readers of the lake are pointed to, or null."""
    content = place.read(CURRENT)
    return LakeGeneration.from_json(content, f"{place.url}/{CURRENT}") if content else None
