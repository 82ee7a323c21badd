"""An emulated Snowflake behind HTTP: fakesnow, with what it lacks for the whole job of Larder.

Run as a program with a folder it prints its port and serves until it is stopped. In the folder,
`pretended.jsonl` gets every statement that it only pretended to do, and `faults.json` may hold
faults: `{"match": <regular expression>, "code": <number>, "message": <text>}` is refused, one
without a code loses the connection. One with `after` does so when the statement is executed. A
login is matched as `login`, a further part of an answer as `part <its number>`; one with `is_short`
comes with its first row only.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import fakesnow.arrow
import fakesnow.cursor
import fakesnow.server
import fakesnow.transforms
import fakesnow.transforms.stage
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import snowflake.connector.errors
import sqlglot
import syntax_walks
import uvicorn
from snowflake.snowpark import Session
from sqlglot import exp
from starlette.concurrency import run_in_threadpool

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

COMMENT = r"\s*(?:/\*.*?\*/\s*)*"
PROCEDURE = re.compile(
    r"(?:with\s+\S+\s+as\s+procedure|create or replace procedure).*?\$\$(.*)\$\$", re.S | re.I
)
# What it does not know and what changes no table: rights, warehouses, tags and policies, pipes.
PRETENDED = re.compile(
    COMMENT + r"(?:grant|revoke|remove|drop procedure|use (?:secondary )?roles?|use warehouse"
    r"|alter session|alter (?:table|view) \S+ modify column|alter schema \S+ (?:set tag|enable)"
    r"|alter database \S+ set"
    r"|(?:create|alter) (?:role|tag|masking policy|resource monitor|warehouse|user|file format"
    r"|storage integration|pipe|stream|task|replication group))\b",
    re.S | re.I,
)
# It masks nothing, so whoever asks is told that every column of the relation is masked.
MASKED = re.compile(r"policy_references\(\s*ref_entity_name => '(\w+)\.(\w+)\.(\w+)'", re.I)
SHOW_GRANTS = re.compile(COMMENT + r"show\s+grants\b", re.S | re.I)
NO_GRANTS = (
    "select ''::varchar as \"privilege\", ''::varchar as \"grantee_name\", "
    "''::varchar as \"granted_to\" where 1 = 0"
)


# Functions of Snowflake's that fakesnow leaves to DuckDB, in DuckDB's words.
FUNCTIONS = {
    "TRY_TO_TIMESTAMP_TZ": "try_cast({0} as timestamptz)",
}


def _known_functions(expression: Any) -> None:
    for node in list(expression.find_all(exp.Anonymous)):
        if template := FUNCTIONS.get(node.name.upper()):
            arguments = [one.sql(dialect="duckdb") for one in node.expressions]
            node.replace(sqlglot.parse_one(template.format(*arguments), read="duckdb"))
    for node in list(expression.find_all(exp.ArrayContains)):
        wanted = node.expression
        wanted = wanted.this if isinstance(wanted, exp.ToVariant) else wanted
        array = node.this.this if isinstance(node.this, exp.Cast) else node.this
        node.replace(exp.func("json_contains", array, exp.func("to_json", wanted)))


def _small_integers_of_casts(integer_precision: Any) -> Any:
    """Leave an integer cast at 32 bits: DuckDB adds no others to a date."""

    def changed(expression: Any) -> Any:
        is_cast_to = isinstance(expression, exp.DataType) and isinstance(
            expression.parent, exp.Cast
        )
        if is_cast_to and expression.this == exp.DataType.Type.INT:
            return expression
        return integer_precision(expression)

    return changed


def _transform_as_duckdb_can(transform: Any) -> Any:
    def transformed(self: Any, expression: Any, params: Any) -> Any:
        _known_functions(expression)
        for key in list(expression.find_all(exp.PrimaryKey)):
            key.pop()  # Snowflake enforces none
        if isinstance(expression, exp.Create) and expression.kind in ("VIEW", "TABLE"):
            properties = expression.args.get("properties")
            if properties:  # no temporary table of DuckDB's has a schema
                kept = [
                    one
                    for one in properties.expressions
                    if not isinstance(one, exp.TemporaryProperty)
                ]
                expression.set("properties", exp.Properties(expressions=kept) if kept else None)
            if isinstance(expression.this, exp.Schema) and expression.expression:
                # … and constraints beside the columns of a table made from a query
                columns = [
                    one for one in expression.this.expressions if isinstance(one, exp.ColumnDef)
                ]
                never_null = [one.name for one in columns if one.find(exp.NotNullColumnConstraint)]
                expression.this.set("expressions", columns)
                self.never_null = (expression.this.this.sql(), never_null)
        return transform(self, expression, params)

    return transformed


def _merge_with_qualified_values(merge: Any) -> Any:
    numbers = count()

    def merged(expression: Any) -> Any:
        if isinstance(expression, exp.Merge):
            source = expression.args["using"].alias_or_name
            for when in expression.args["whens"].expressions:
                then = when.args["then"]
                if isinstance(then, exp.Insert) and then.expression is not None:
                    for column in then.expression.find_all(exp.Column):
                        if not column.table:  # a value to insert is always the source's
                            column.set("table", exp.to_identifier(source))
        statements = merge(expression)
        if isinstance(expression, exp.Merge):  # merges at the same time would share this table
            own = f"merge_candidates_{next(numbers)}"
            for statement in statements:
                for name in statement.find_all(exp.Identifier):
                    if name.name.lower() == "merge_candidates":
                        name.set("this", own)
        return statements

    return merged


def _execute_like_snowflake(execute: Any) -> Any:
    def roll_back(cursor: Any) -> None:
        with suppress(duckdb.Error):
            cursor._duck_conn.execute("rollback")

    def executed(self: Any, *arguments: Any, **options: Any) -> Any:
        self.never_null = ("", [])
        try:
            result = execute(self, *arguments, **options)
            table, columns = self.never_null
            for column in columns:
                self._duck_conn.execute(f"alter table {table} alter {column} set not null")
            return result
        except snowflake.connector.errors.Error:
            roll_back(self)  # a failed statement does not spoil its transaction there
            raise
        except Exception as error:  # an answer of 500 would make the connector try for minutes
            roll_back(self)
            raise snowflake.connector.errors.ProgrammingError(
                msg=f"{type(error).__name__}: {error}", errno=1003, sqlstate="42000"
            ) from error

    return executed


def _unknown_where_unknown(to_struct: Any) -> Any:
    """Keep a null instant null on its way to the client."""

    def changed(instants: Any) -> Any:
        found = instants.combine_chunks() if isinstance(instants, pa.ChunkedArray) else instants
        structs = to_struct(found)
        parts = [
            pc.fill_null(structs.field(number), 0) for number in range(structs.type.num_fields)
        ]
        return pa.StructArray.from_arrays(parts, fields=list(structs.type), mask=pc.is_null(found))

    return changed


def _parse_once(parse: Any) -> tuple[Any, Any]:
    """Return two parsers, the second of which takes what the first has parsed, if it has."""
    parsed: dict[str, Any] = {}

    def first(statement: str) -> Any:
        parsed[statement] = tree = parse(statement)
        return tree

    def second(statement: str) -> Any:
        return parsed.pop(statement, None) or parse(statement)

    return first, second


def _describe_as_it_is(self: Any) -> Any:
    """Describe the last result; the statement is DuckDB's already."""
    return self._duck_conn.execute(f"describe {self._last_sql}", self._last_params).fetchall()


def patch() -> None:
    """Teach fakesnow what dbt-snowflake needs, and not to do the same work twice."""
    syntax_walks.patch()
    fakesnow.server.parse_one, fakesnow.cursor.parse_one = _parse_once(fakesnow.cursor.parse_one)
    cursor = fakesnow.cursor.FakeSnowflakeCursor
    cursor._describe_last_sql = _describe_as_it_is
    cursor._transform = _transform_as_duckdb_can(cursor._transform)
    cursor.execute = _execute_like_snowflake(cursor.execute)
    fakesnow.transforms.integer_precision = _small_integers_of_casts(
        fakesnow.transforms.integer_precision
    )
    fakesnow.arrow.timestamp_to_sf_struct = _unknown_where_unknown(
        fakesnow.arrow.timestamp_to_sf_struct
    )
    fakesnow.transforms.merge = _merge_with_qualified_values(fakesnow.transforms.merge)


REMOVE = re.compile(COMMENT + r"remove @([\w.]+)/?(\S*)\s*$", re.S | re.I)


def remove_files(statement: str) -> None:
    """Remove files from a stage, if the statement says so."""
    if found := REMOVE.match(statement):
        name, path = found.groups()
        place = Path(fakesnow.transforms.stage.internal_dir(name.upper(), path))
        shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)


# Statements on whole schemas, which fakesnow refuses.
CLONE = re.compile(COMMENT + r"create schema (\S+) clone (\S+)\s*$", re.S | re.I)
SWAP = re.compile(COMMENT + r"alter schema (\S+) swap with (\S+)\s*$", re.S | re.I)
RENAME = re.compile(COMMENT + r"alter schema (\S+) rename to (\S+)\s*$", re.S | re.I)


def _clone(connection: duckdb.DuckDBPyConnection, schema: str, source: str) -> None:
    """Make a schema with the tables of another."""
    connection.execute(f"create schema {schema}")
    database, name = source.upper().split(".")
    columns = connection.execute(
        "select table_name, column_name, is_nullable from duckdb_columns() "
        "where upper(database_name) = ? and upper(schema_name) = ? order by table_name",
        [database, name],
    ).fetchall()
    for table in sorted({table for table, _, _ in columns}):
        there = f'{schema}."{table}"'
        connection.execute(f'create table {there} as from {source}."{table}" with no data')
        for of, column, is_nullable in columns:
            if of == table and not is_nullable:
                connection.execute(f'alter table {there} alter "{column}" set not null')
        connection.execute(f'insert into {there} from {source}."{table}"')


def _rename(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> None:
    _clone(connection, name, schema)
    connection.execute(f"drop schema {schema} cascade")


def change_schemas(statement: str) -> bool:
    """Do what a statement on whole schemas says, step by step; tell whether it was one."""
    if not any(pattern.match(statement) for pattern in (CLONE, SWAP, RENAME)):
        return False
    connection = fakesnow.server.shared_fs.duck_conn.cursor()
    if found := CLONE.match(statement):
        _clone(connection, *found.groups())
    elif found := RENAME.match(statement):
        _rename(connection, *found.groups())
    elif found := SWAP.match(statement):
        first, second = found.groups()
        aside = f"{first.split('.')[0]}.swapped_aside"
        _rename(connection, first, aside)
        _rename(connection, second, first)
        _rename(connection, aside, second)
    return True


# fakesnow says of every table that it was last altered in 1970; what writes names its table first.
WRITE = re.compile(
    COMMENT + r"(?:create|alter|drop|insert|update|delete|merge|truncate|copy)\b[^(.]*?"
    r'\b(\w+)"?\."?(\w+)',
    re.S | re.I,
)
LAST_ALTERED = re.compile(
    r"\blast_altered\b(?=.* from (\w+)\.information_schema\.tables "
    r"where lower\(table_schema\) = '(\w+)')",
    re.S | re.I,
)


class Alterations:
    """Keep when each schema was last written to, and answer with it."""

    def __init__(self) -> None:
        self._moments: dict[str, datetime] = {}

    def keep(self, statement: str) -> None:
        """Keep the moment, if the statement writes."""
        if found := WRITE.match(statement):
            self._moments[".".join(found.groups()).lower()] = datetime.now(UTC)

    def answer(self, statement: str) -> str | None:
        """Return a query for when tables were last altered with the moment in it; or null."""
        found = LAST_ALTERED.search(statement)
        if not found:
            return None
        moment = self._moments.get(".".join(found.groups()).lower(), datetime.fromtimestamp(0, UTC))
        return LAST_ALTERED.sub(f"'{moment.replace(tzinfo=None)}'::timestamp_ntz", statement)


# What it answers to a statement that it has only pretended to do.
SUCCEEDED = "select 'Statement executed successfully.' as status"

# So many rows stand in an answer itself; the rest is fetched in parts of so many.
PART_ROWS = 5_000
# A number of more digits is no integer on its way.
MOST_DIGITS = 18


WIDTHS = ((8, pa.int8()), (16, pa.int16()), (32, pa.int32()), (64, pa.int64()))


def _as_sent(part: pa.Table) -> bytes:
    """Write rows as Snowflake does: numbers as integers, scaled, as wide as this part needs."""
    columns = []
    for column in part.columns:
        found = column
        if pa.types.is_decimal(column.type) and column.type.precision <= MOST_DIGITS:
            power = pa.scalar(Decimal(10) ** column.type.scale, pa.decimal128(MOST_DIGITS + 1, 0))
            found = pc.multiply(column, power).cast(pa.int64())
        if pa.types.is_int64(found.type):
            limits = [one for one in pc.min_max(found).as_py().values() if one is not None]
            most = max((abs(one) for one in limits), default=0)
            found = found.cast(next(kind for bits, kind in WIDTHS if most < 2 ** (bits - 1)))
        columns.append(found)
    fields = [
        field.with_type(column.type) for field, column in zip(part.schema, columns, strict=True)
    ]
    return bytes(fakesnow.arrow.to_ipc(pa.table(columns, schema=pa.schema(fields))))


class Emulator:
    """Answer for Snowflake; `folder` is described above."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._pretended = folder / "pretended.jsonl"
        self._faults = folder / "faults.json"
        self._frames = count()
        self._parts: dict[str, bytes] = {}
        self._succeeded = b""
        self._alterations = Alterations()
        self._app = fakesnow.server.app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/parts/"):
            await self._send_part(scope["path"].removeprefix("/parts/"), send)
            return
        is_login = scope["type"] == "http" and scope["path"].endswith("/login-request")
        if is_login and (fault := self._fault("login")):
            await _refuse(fault, "login", send)
            return
        if scope["type"] != "http" or not scope["path"].endswith("/query-request"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        is_packed = dict(scope["headers"]).get(b"content-encoding") == b"gzip"
        request = json.loads(gzip.decompress(body) if is_packed else body)
        statement = request.get("sqlText", "")
        fault = self._fault(statement)
        if fault and "after" not in fault:
            await _refuse(fault, statement, send)
            return
        answer = await self._answer(statement)
        if answer == SUCCEEDED and self._succeeded and not fault:
            # dbt tags each of its queries: without this, a quarter of the time of a build
            await _send(send, self._succeeded)
            return
        if answer is not None:
            request["sqlText"] = answer
            body = json.dumps(request).encode()
            body = gzip.compress(body) if is_packed else body
            headers = [one for one in scope["headers"] if one[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            scope = {**scope, "headers": [*headers, length]}
        is_given = False

        async def give_body() -> Message:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}

        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, give_body, keep)
        if fault:
            await _refuse(fault, statement, send)
            return
        body = b"".join(one.get("body", b"") for one in messages)
        cut = await run_in_threadpool(self._cut, json.loads(body))
        if cut is not None:
            body = json.dumps(cut).encode()
            if answer == SUCCEEDED:
                for where in ("finalDatabaseName", "finalSchemaName"):
                    cut["data"].pop(where)  # of this session
                self._succeeded = json.dumps(cut).encode()
        await _send(send, body, messages[0]["status"])

    def _cut(self, answer: dict[str, Any]) -> dict[str, Any] | None:
        """Leave the first rows in the answer, and keep the rest to be fetched; null: no rows."""
        packed = (answer.get("data") or {}).get("rowsetBase64")
        if not packed:
            return None
        with pa.ipc.open_stream(base64.b64decode(packed)) as stream:
            rows = stream.read_all()
        parts = [_as_sent(rows[at : at + PART_ROWS]) for at in range(0, len(rows), PART_ROWS)]
        answer["data"]["rowsetBase64"] = base64.b64encode(parts[0]).decode()
        chunks = []
        for number, part in enumerate(parts[1:], start=1):
            name = f"{answer['data']['queryId']}/{number}"
            self._parts[name] = part
            chunks.append(
                {
                    "url": f"http://127.0.0.1:{self._port}/parts/{name}",
                    "rowCount": min(PART_ROWS, len(rows) - number * PART_ROWS),
                    "uncompressedSize": len(part),
                    "compressedSize": len(part),
                }
            )
        if chunks:
            answer["data"]["chunks"] = chunks
        return answer

    async def _send_part(self, name: str, send: Send) -> None:
        statement = f"part {name.rpartition('/')[2]}"
        fault = self._fault(statement)
        if fault is None:
            await _send(send, self._parts.pop(name))
        elif "is_short" in fault:
            with pa.ipc.open_stream(self._parts.pop(name)) as stream:
                await _send(send, bytes(fakesnow.arrow.to_ipc(stream.read_all()[:1])))
        else:
            await _hang_up(send, statement)

    def _fault(self, statement: str) -> dict[str, Any] | None:
        """Return the first fault that fits."""
        if not self._faults.exists():
            return None
        faults = json.loads(self._faults.read_text(encoding="utf-8"))
        return next((one for one in faults if re.search(one["match"], statement, re.I)), None)

    async def _answer(self, statement: str) -> str | None:
        """Return another statement that gives the answer, or null: fakesnow knows it."""
        if SHOW_GRANTS.match(statement):
            return NO_GRANTS
        if altered := self._alterations.answer(statement):
            return altered
        self._alterations.keep(statement)
        if procedure := PROCEDURE.search(statement):
            try:
                result = await run_in_threadpool(self._call, procedure.group(1))
                return f"select '{str(result).replace(chr(39), '')}' as result"
            except Exception as error:
                traceback.print_exc()
                text = f"{type(error).__name__}: {error}".replace("'", "")[:400]
                return f"select error('{text}')"
        if found := MASKED.search(statement):
            database, schema, table = found.groups()
            return (
                f"select column_name, 'ACTIVE' from {database}.information_schema.columns "
                f"where table_schema = '{schema.upper()}' and table_name = '{table.upper()}'"
            )
        try:
            is_done = await run_in_threadpool(change_schemas, statement)
        except duckdb.Error as error:
            return f"select error('{str(error).replace(chr(39), '')[:400]}')"
        remove_files(statement)
        if is_done or PRETENDED.match(statement):
            with self._pretended.open("a", encoding="utf-8") as file:
                file.write(json.dumps(statement) + "\n")
            return SUCCEEDED
        return None

    def _call(self, code: str) -> object:
        """Run the code of a stored procedure through a session of Snowpark's."""
        session = Session.builder.configs(
            {
                **dict.fromkeys(("user", "password", "account"), "emulated"),
                "host": "127.0.0.1",
                "port": self._port,
                "protocol": "http",
                "database": "LARDER_ANALYTICS",
                "schema": "PUBLIC",
            }
        ).create()

        def create_dataframe(frame: pd.DataFrame, *_: object, **__: object) -> Any:
            name = f"LARDER_ANALYTICS.PUBLIC.__FRAME_{threading.get_ident()}_{next(self._frames)}"
            connection = fakesnow.server.shared_fs.duck_conn.cursor()
            connection.register("__frame", frame)
            connection.execute("create schema if not exists LARDER_ANALYTICS.PUBLIC")
            connection.execute(f"create or replace table {name} as select * from __frame")
            return session.table(name)

        session.createDataFrame = create_dataframe
        session.create_dataframe = create_dataframe
        names: dict[str, Any] = {"__name__": "procedure"}
        try:
            exec(compile(code, "<procedure>", "exec"), names)  # noqa: S102
            return names["main"](session)
        finally:
            # the session's own close cancels queries, which fakesnow does not know
            session.connection.close()


async def _send(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(fault: dict[str, Any], statement: str, send: Send) -> None:
    """Answer with a fault."""
    if "code" not in fault:
        await _hang_up(send, statement)
    code = f"{fault['code']:06d}"
    answer = {
        "data": {"errorCode": code, "sqlState": "08001"},
        "code": code,
        "message": fault["message"],
        "success": False,
    }
    await _send(send, json.dumps(answer).encode())


async def _hang_up(send: Send, statement: str) -> NoReturn:
    """Break off in the middle of an answer."""
    headers = [(b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise ConnectionResetError(statement)


def main(folder: Path) -> None:
    """Serve until stopped."""
    patch()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    print(port, flush=True)  # noqa: T201
    config = uvicorn.Config(Emulator(port, folder), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
