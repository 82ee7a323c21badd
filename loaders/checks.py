"""Turn the description of an entity into the SQL that reads, checks and keys its records.

The SQL runs over a relation with the columns `line_number`, `line` (a record as JSON text, null
for a blank line), `problem` (null, or what a reader already found) and `is_cut_off` (the last line,
which no line end follows), and gives one row per line in the same order: the columns of a raw
segment.
"""

from __future__ import annotations

from json import dumps

from larder.warehouse import literal, quoted
from loaders.entities import TOKENS, Entity, Field, token_columns
from loaders.limits import MAX_LINE_BYTES, MAX_NESTING

# A record nested deeper than MAX_NESTING has more bytes than this, so shorter lines, nearly all,
# are spared the check.
SHORTEST_DEEP_LINE = 2 * MAX_NESTING
EN_DASH = 0x2013
# An instant outside is a broken clock or a broken parser; nothing of Larder's is that old.
FIRST_YEAR, LAST_YEAR = 1900, 2200
# What happened before is a clock that has lost its time: Larder's days begin on 1 January 2000
# (`first_date` in dbt_project.yml), wherever on earth.
FIRST_MOMENT = "2000-01-02"

READABLE = {
    "timestamp": "an ISO 8601 instant",
    "date": "an ISO 8601 date",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object or a list",
}

SEGMENT_COLUMNS = (
    "payload",
    "natural_key",
    "content_hash",
    "rejection_reason",
    "rejection_detail",
    "unreadable_fields",
    "source_file",
    "line_number",
    "received_at",
    "loaded_at",
    *token_columns(),
)


def text_of(field: Field) -> str:
    """Give the text of a field, null where it is absent or empty.

    The relation has `record`, the structure of the fields at the top of the record, and `json`,
    the record for JSON paths.
    """
    parts = [
        f"json_extract_string(json, {literal(source)})"
        if source.startswith("$.")
        else f"record.{quoted(source)}"
        for source in field.sources
    ]
    text = parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"
    return f"nullif({text}, '')"


def typed(field: Field, text: str) -> str:
    """Give the typed value of a text, null where it cannot be read."""
    json = f"json({text})::varchar"  # without insignificant blanks
    match field.type:
        case "timestamp":
            # Text without an offset is UTC, which the connection's time zone sees to. A cast to
            # timestamp would drop an offset, and one from timestamptz asks for the zone's rules.
            value = f"make_timestamp(epoch_us(try_cast({_plain_dashes(text)} as timestamptz)))"
            return f"case when year({value}) between {FIRST_YEAR} and {LAST_YEAR} then {value} end"
        case "date":
            value = f"try_cast({_plain_dashes(text)} as date)"
            return f"case when year({value}) between {FIRST_YEAR} and {LAST_YEAR} then {value} end"
        case "number":
            return f"try_cast({text} as decimal(18, 6))"
        case "integer":
            value = f"try_cast({text} as decimal(18, 6))"
            return f"case when {value} = floor({value}) then {value}::bigint end"
        case "boolean":
            return f"try_cast({text} as boolean)"
        case "list":
            return f"case when json_valid({text}) and {text}[1] = '[' then {json} end"
        case "object":
            return f"case when json_valid({text}) and {text}[1] in ('[', '{{') then {json} end"
        case "text":
            return text


def _plain_dashes(text: str) -> str:
    """Give a date's text with hyphens where some sources write en dashes."""
    return f"replace({text}, chr({EN_DASH}), '-')"


def _failed_checks(field: Field) -> list[tuple[str, str, str]]:
    """Give the checks of a readable field as (condition of failure, reason, rule)."""
    column = quoted(field.name)
    failed = []
    if field.accepted:
        values = ", ".join(literal(value) for value in field.accepted)
        failed.append(
            (f"{column} not in ({values})", "unknown_value", f"one of {', '.join(field.accepted)}")
        )
    if field.minimum is not None:
        failed.append((f"{column} < {field.minimum}", "out_of_range", f"at least {field.minimum}"))
    if field.maximum is not None:
        failed.append((f"{column} > {field.maximum}", "out_of_range", f"at most {field.maximum}"))
    if field.happened:
        failed.append((f"{column} < timestamp '{FIRST_MOMENT}'", "out_of_range", "after 1999"))
        failed.append(
            (
                f"{column} > $received_at + interval 1 day",
                "out_of_range",
                "not more than a day after the file arrived",
            )
        )
    return failed


def _problems(entity: Entity) -> str:
    """Give the case expression that names the first problem as `reason|field: rule`."""
    cases = [
        ("line is null or problem is not null", "problem"),
        (f"strlen(line) > {MAX_LINE_BYTES}", "'line_too_long|the record has more than 1 MiB'"),
        (
            # `and` would ask all lines for their depth when it finds that cheaper
            f"case when strlen(line) > {SHORTEST_DEEP_LINE} then "
            f"case when strlen(line) - strlen(translate(line, '[{{', '')) > {MAX_NESTING} then "
            f"nesting_depth(line) > {MAX_NESTING} end end",
            f"'nested_too_deeply|the record is nested more than {MAX_NESTING} levels deep'",
        ),
        (
            "record is null and not json_valid(line)",
            "case when contains(line, chr(0)) then 'nul_byte|the record holds a NUL byte' "
            "when is_cut_off then 'truncated_line|the last line has no end and is not valid JSON' "
            "else 'broken_json|the record is not valid JSON' end",
        ),
        # Only `null` is JSON and yet has no record.
        ("record is null", "'not_an_object|the record is not a JSON object'"),
    ]
    keys = [] if entity.key_falls_back_to_content else list(entity.key)
    required = [field for field in entity.fields if field.required]
    for field in sorted(required, key=lambda field: field.name not in keys):
        reason = "missing_key" if field.name in keys else "missing_field"
        # Whatever is not an object lacks the first required field, so only those lines pay for
        # the question.
        rule = (
            "case when json_type(line) <> 'OBJECT' then 'not_an_object|the record is not a JSON "
            f"object' else {literal(f'{reason}|{field.name}: must be there and not empty')} end"
        )
        cases.append((f"{text_of(field)} is null", rule))
    for field in required:
        if field.type != "text":
            rule = literal(f"invalid_value|{field.name}: must be {READABLE[field.type]}")
            cases.append((f"{quoted(field.name)} is null", rule))
        cases.extend(
            (condition, literal(f"{reason}|{field.name}: must be {rule}"))
            for condition, reason, rule in _failed_checks(field)
        )
    return "case " + " ".join(f"when {when} then {then}" for when, then in cases) + " end"


def _unreadable(entity: Entity) -> str:
    """Give the names of the optional fields that staging will have to read as null."""
    names = []
    for field in entity.fields:
        failed = [condition for condition, _, _ in _failed_checks(field)]
        if field.type != "text":
            failed.append(f"{quoted(field.name)} is null and {text_of(field)} is not null")
        if failed and not field.required:
            names.append(f"case when {' or '.join(failed)} then {literal(field.name)} end")
    return f"nullif(concat_ws(',', {', '.join(names)}), '')" if names else "null::varchar"


def _content_hash(entity: Entity) -> str:
    """Give the MD5 of the record's content: its typed fields, so that 2, "2" and 2.0 are alike."""
    if entity.content_is_record:
        # without insignificant blanks, and a null is the same as an absent field
        return "md5(json_merge_patch('{}', payload)::varchar)"
    values = []
    for field in entity.fields:
        text = f"{quoted(field.name)}::varchar"
        if field.person:  # nothing may be derived from the id of who was erased
            text = f"case when {field.token_column} is not null then {text} end"
        values.append(text)
    # An absent value leaves nothing between its separators; no field's text is empty.
    return f"md5(concat({', chr(31), '.join(values)}))"


def _natural_key(entity: Entity) -> str:
    keys = [f"{quoted(key)}::varchar" for key in entity.key]
    key = keys[0] if len(keys) == 1 else f"concat_ws('|', {', '.join(keys)})"
    return f"coalesce({key}, content_hash)" if entity.key_falls_back_to_content else key


def _person(entity: Entity, column: str) -> str | None:
    texts = [quoted(field.name) for field in entity.persons if field.token_column == column]
    return f"coalesce({', '.join(texts)})" if len(texts) > 1 else next(iter(texts), None)


def _token(entity: Entity, name: str) -> str:
    """Give a token column; a rejected record has no token, it is only read to be mended."""
    column = f"{name}_token"
    person = _person(entity, column)
    if person is None:
        return f"null::varchar as {column}"
    token = f"{TOKENS[name]}_token({person})"
    return f"case when problem is null and {person} is not null then {token} end as {column}"


def _payload(entity: Entity) -> str:
    """Give the record without the persons who were erased: those have an id but get no token.

    A record that cannot be without its person is not kept at all.
    """
    payload = "line"
    for field in entity.persons:
        erased = (
            f"problem is null and {field.token_column} is null "
            f"and {_person(entity, field.token_column)} is not null"
        )
        names = [name for name in field.sources if not name.startswith("$.")]
        kept = f"json_merge_patch({payload}, {literal(dumps(dict.fromkeys(names)))})::varchar"
        if field.required or len(names) < len(field.sources):
            kept = "null"
        payload = f"case when {erased} then {kept} else {payload} end"
    return payload


def _structure(entity: Entity) -> str:
    """Give the structure of the fields that are read from the top of the record, all as text."""
    flat = dict.fromkeys(
        source for field in entity.fields for source in field.sources if not source.startswith("$.")
    )
    return literal(dumps(dict.fromkeys(flat, "VARCHAR")))


def _json(entity: Entity) -> str:
    """Give the record for JSON paths, which only valid JSON has; null where no field has a path."""
    sources = (source for field in entity.fields for source in field.sources)
    if not any(source.startswith("$.") for source in sources):
        return "null::varchar"
    return "case when record is not null then line end"


def _typed_fields(entity: Entity) -> str:
    return ",\n        ".join(
        f"{typed(field, text_of(field))} as {quoted(field.name)}" for field in entity.fields
    )


def typed_fields_sql(entity: Entity, lines: str) -> str:
    """Give the query from a relation of accepted records (`line`) to their typed fields.

    The other columns of the relation come along; they must not be named like a field.
    """
    return f"""
        select *, {_typed_fields(entity)}
        from (
            select *, {_json(entity)} as json
            from (select *, try(from_json(line, {_structure(entity)})) as record from {lines})
        )
    """


def segment_sql(entity: Entity, lines: str) -> str:
    """Give the query from a relation of lines to the rows of a segment, in the lines' order.

    Parameters of the query: `$source_file`, `$received_at`, `$loaded_at`. Functions it needs:
    `nesting_depth(varchar)` and `<domain>_token(varchar)` for each domain of the entity.
    """
    structure, json, fields = _structure(entity), _json(entity), _typed_fields(entity)
    tokens = ",\n        ".join(_token(entity, name) for name in TOKENS)
    return f"""
with parsed as (
    -- one parse of the JSON tells whether it is valid, too
    select
        -- order lines have a line_number of their own
        line_number as file_line_number,
        line,
        problem,
        is_cut_off,
        try(from_json(line, {structure})) as record
    from {lines}
),
typed as (
    select file_line_number, line, problem, is_cut_off, record, {json} as json,
        {fields}
    from parsed
),
checked as (
    select * exclude (problem), {_problems(entity)} as problem, {_unreadable(entity)} as unreadable
    from typed
),
tokened as (
    select *,
        {tokens}
    from checked
),
kept as (
    select *, {_payload(entity)} as payload
    from tokened
),
keyed as (
    select *, problem is null and payload is not null as is_good,
        case when problem is null and payload is not null then {_content_hash(entity)} end
            as content_hash
    from kept
)
select
    payload,
    case when is_good then {_natural_key(entity)} end as natural_key,
    content_hash,
    split_part(problem, '|', 1) as rejection_reason,
    split_part(problem, '|', 2) as rejection_detail,
    case when is_good then unreadable end as unreadable_fields,
    $source_file as source_file,
    file_line_number as line_number,
    $received_at as received_at,
    $loaded_at as loaded_at,
    {", ".join(token_columns())}
from keyed
"""
