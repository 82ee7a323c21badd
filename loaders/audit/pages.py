"""The pages of an audit: what Great Expectations writes, made readable without a network."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from larder.settings import Settings
from loaders.audit.rules import duration, percent

SITE = "local_site"
STYLE = """<style>
body { font-family: sans-serif; margin: 1rem 2rem; max-width: 75rem; color: #222; }
table { border-collapse: collapse; margin-bottom: 1rem; }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.col-lg-2, .modal, .navbar-brand, .btn, .collapse, [data-toggle=collapse], footer { display: none; }
.text-success, .kept { color: #1a7f37; } .text-danger, .broken { color: #b42318; }
.fa-check-circle::before { content: "kept"; } .fa-times::before { content: "broken"; }
</style>
"""


def root_folder(settings: Settings) -> Path:
    """Return the folder that Great Expectations keeps its files in."""
    return settings.audit_folder / "gx"


def pages_folder(settings: Settings) -> Path:
    """Return the folder of the pages."""
    return root_folder(settings) / "uncommitted" / "data_docs" / SITE


def results_folder(settings: Settings) -> Path:
    """Return the folder of the results that the pages show."""
    return root_folder(settings) / "uncommitted" / "validations"


def pages_index(settings: Settings) -> Path:
    """Return the first page, which is there after the first audit."""
    return pages_folder(settings) / "index.html"


def finish_pages(settings: Settings) -> Path:
    """Make the pages self-contained, write the first page anew, and return it.

    As Great Expectations writes them they fetch styles and scripts from six hosts and a picture
    whose address names the project, and the first page is empty without its scripts.
    """
    folder = pages_folder(settings)
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if STYLE not in text:
            page.write_text(_self_contained(text), encoding="utf-8")
    index = pages_index(settings)
    index.write_text(_index(settings), encoding="utf-8")
    return index


def _self_contained(page: str) -> str:
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    page = re.sub(r"<link\b[^>]*https?:[^>]*>", "", page)
    page = re.sub(r"https?://[^\s\"'()<>]*", "", page)
    page = page.replace("<br> Data asset: None", "")
    return page.replace("</head>", f"{STYLE}</head>", 1)


def _index(settings: Settings) -> str:
    """Return the first page: the newest audit first, one row per batch, what it broke in words."""
    results = results_folder(settings)
    rows = []
    for path in results.glob("*/*/*/*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        page = path.relative_to(results).with_suffix(".html").as_posix()
        rows.append((result["meta"]["run_id"]["run_name"], result["suite_name"], page, result))
    rows.sort(key=lambda row: row[1])
    rows.sort(key=lambda row: row[0], reverse=True)
    body = "\n".join(_row(*row) for row in rows)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Audit of what arrived</title>
{STYLE}</head><body>
<h1>Audit of what arrived</h1>
<p>Each row is what arrived of one entity between two audits. A broken critical expectation keeps
records out of the build until the source mends them or somebody releases them
(<code>larder audit --release</code>); a broken warning only says so. The thresholds and their
reasons are in <code>seeds/audit_thresholds.csv</code>.</p>
<table><thead><tr><th>Audited</th><th>What</th><th>Expectations</th><th>Broken</th></tr></thead>
<tbody>
{body}
</tbody></table>
</body></html>
"""


def _row(run: str, suite: str, page: str, result: dict[str, Any]) -> str:
    broken = [outcome for outcome in result["results"] if not outcome["success"]]
    items = "".join(f"<li>{escape(_words(outcome))}</li>" for outcome in broken)
    kept = f"{len(result['results']) - len(broken)} of {len(result['results'])} kept"
    return (
        f"<tr><td>{escape(run)}</td>"
        f'<td><a href="validations/{quote(page)}">{escape(suite)}</a></td>'
        f'<td class="{"broken" if broken else "kept"}">{kept}</td>'
        f"<td>{f'<ul>{items}</ul>' if items else ''}</td></tr>"
    )


def _words(outcome: dict[str, Any]) -> str:
    config, result = outcome["expectation_config"], outcome["result"]
    if "unexpected_percent" in result:
        measured = percent(result["unexpected_percent"] / 100)
    elif config["kwargs"]["column"].startswith("hours"):
        measured = duration(result["observed_value"])
    else:
        measured = percent(result["observed_value"])
    return f"{config['description']} (measured: {measured})"
