"""deploy/aws: read by a parser of HCL, and held to what it promises. No account, no provider.

That the names are those of the provider's schema only `tofu validate` can say, which needs the
provider; see deploy/aws/README.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from larder.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "aws"
GUARDED_BUCKET, COLLECTOR = FOLDER / "guarded_bucket", FOLDER / "collector"
Block = dict[str, Any]
LABELS = {"resource": 2, "data": 2, "variable": 1, "output": 1, "provider": 1, "module": 1}
# a resource or a data source, as expressions name it
REFERENCE = re.compile(r"\b(data\.)?(aws_\w+)\.(\w+)\b")


def plain(value: Any) -> Any:
    """Take the parser's quotation marks and ${} from keys and values."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items() if key != "__is_block__"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        text = value[1:-1] if value[:1] == value[-1:] == '"' else value
        return text[2:-1] if re.fullmatch(r"\$\{[^{}]*\}", text) else text
    return value


Blocks = dict[str, dict[tuple[str, ...], Block]]
"""Kind of block → its labels → its content."""


def blocks_of(folder: Path) -> Blocks:
    """Return what all files of a folder declare."""
    found: Blocks = {}
    files = sorted(folder.glob("*.tf"))
    assert files
    for file in files:
        with file.open(encoding="utf-8") as handle:
            content = hcl2.load(handle)
        for kind, entries in content.items():
            if kind.startswith("__"):
                continue
            for entry in entries:
                labels: list[str] = []
                body = plain(entry)
                for _ in range(LABELS.get(kind, 0)):
                    ((label, body),) = body.items()
                    labels.append(label)
                if kind == "provider":
                    labels.append(body.get("alias", ""))
                key = tuple(labels)
                assert key not in found.setdefault(kind, {}), f"{file.name}: {kind} {key} again"
                found[kind][key] = body
    return found


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    """What the whole declares."""
    return blocks_of(FOLDER)


@pytest.fixture(scope="module")
def guarded() -> Blocks:
    """What the module of one bucket declares."""
    return blocks_of(GUARDED_BUCKET)


@pytest.fixture(scope="module")
def resources(blocks: Blocks) -> dict[tuple[str, ...], Block]:
    """The resources by type and name."""
    return blocks["resource"]


def statements(blocks: Blocks, effect: str, name: str = "") -> Iterator[tuple[str, Block]]:
    """Yield the statements of policies with that effect, each with the name of its document."""
    for (kind, document), body in blocks["data"].items():
        if kind == "aws_iam_policy_document" and name in ("", document):
            for statement in body["statement"]:
                if statement["effect"] == effect:
                    yield document, statement


@pytest.mark.parametrize(
    "folder", [FOLDER, GUARDED_BUCKET, COLLECTOR], ids=lambda folder: folder.name
)
def test_everything_that_is_referred_to_is_declared(folder: Path) -> None:
    blocks = blocks_of(folder)
    files = (file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))
    text = re.sub(r"(?m)^\s*#.*$", "", "\n".join(files))
    for is_data, kind, name in REFERENCE.findall(text):
        assert (kind, name) in blocks["data" if is_data else "resource"], f"{kind}.{name}"
    used = set(re.findall(r"\bvar\.(\w+)", text))
    assert used == {name for (name,) in blocks["variable"]}
    for (name,), body in (blocks["variable"] | blocks["output"]).items():
        assert body["description"], name


def test_both_buckets_are_guarded_alike_and_the_copy_is_in_the_second_region(
    blocks: Blocks, guarded: Blocks
) -> None:
    assert {alias for _, alias in blocks["provider"]} == {"", "second"}
    modules = {key: body for key, body in blocks["module"].items() if key != ("collector",)}
    assert set(modules) == {("landing",), ("copy",)}
    for body in modules.values():
        assert body["source"] == "./guarded_bucket"
        assert {(name,) for name in body} - {("source",), ("providers",)} == set(
            guarded["variable"]
        )
    assert "providers" not in modules["landing",]
    assert modules["copy",]["providers"] == {"aws": "aws.second"}
    # nothing is a bucket that the module does not guard
    assert not [key for key in blocks["resource"] if key[0] == "aws_s3_bucket"]
    used = set(re.findall(r"module\.(?:landing|copy)\.(\w+)", str(blocks)))
    assert used == {name for (name,) in guarded["output"]}


def test_a_bucket_is_encrypted_versioned_private_and_kept(guarded: Blocks) -> None:
    of_kind = {kind: body for (kind, _), body in guarded["resource"].items()}
    assert len(of_kind) == len(guarded["resource"]) == 7
    assert of_kind.pop("aws_s3_bucket")["lifecycle"][0]["prevent_destroy"] is True
    assert all(part["bucket"] == "aws_s3_bucket.this.id" for part in of_kind.values())
    encryption = of_kind["aws_s3_bucket_server_side_encryption_configuration"]
    (by_default,) = encryption["rule"][0]["apply_server_side_encryption_by_default"]
    assert by_default["sse_algorithm"] in ("AES256", "aws:kms")
    versioning = of_kind["aws_s3_bucket_versioning"]
    assert versioning["versioning_configuration"][0]["status"] == "Enabled"
    access = of_kind["aws_s3_bucket_public_access_block"]
    for setting in (
        "block_public_acls",
        "block_public_policy",
        "ignore_public_acls",
        "restrict_public_buckets",
    ):
        assert access[setting] is True
    ownership = of_kind["aws_s3_bucket_ownership_controls"]
    assert ownership["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
    lifecycle = of_kind["aws_s3_bucket_lifecycle_configuration"]["rule"][0]
    assert lifecycle["status"] == "Enabled"
    old = lifecycle["noncurrent_version_expiration"][0]
    assert old["noncurrent_days"] == "var.noncurrent_days"


def test_nothing_is_read_or_written_without_tls(guarded: Blocks) -> None:
    ((_, statement),) = statements(guarded, "Deny")
    assert statement["actions"] == ["s3:*"]
    bucket = "aws_s3_bucket.this.arn"
    assert statement["resources"] == [bucket, f"${{{bucket}}}/*"]
    assert statement["principals"] == [{"type": "*", "identifiers": ["*"]}]
    assert statement["condition"] == [
        {"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]}
    ]
    policy = guarded["resource"]["aws_s3_bucket_policy", "this"]["policy"]
    assert policy == "data.aws_iam_policy_document.tls_only.json"


def test_what_lands_is_copied_to_the_second_region(
    resources: dict[tuple[str, ...], Block],
) -> None:
    replication = resources["aws_s3_bucket_replication_configuration", "landing"]
    assert replication["role"] == "aws_iam_role.replication.arn"
    # S3 refuses it before both are versioned
    assert set(replication["depends_on"]) == {"module.landing", "module.copy"}
    (rule,) = replication["rule"]
    assert rule["status"] == "Enabled"
    assert rule["destination"][0]["bucket"] == "module.copy.arn"
    assert rule["delete_marker_replication"] == [{"status": "Enabled"}]


def test_no_policy_allows_everything_to_anybody(
    blocks: Blocks,
) -> None:
    allowed = list(statements(blocks, "Allow"))
    assert len(allowed) > 10
    for name, statement in allowed:
        assert not statement.get("not_actions"), name
        for action in statement["actions"]:
            assert re.fullmatch(r"(kinesis|s3|sqs|sts):[A-Za-z]+", action), f"{name}: {action}"
        for resource in statement.get("resources", []):
            assert re.match(
                r"(\$\{)?(module|aws_sqs_queue|aws_kinesis_stream)\.\w+(\[0\])?\.arn", resource
            ), name
        for principal in statement.get("principals", []):
            assert "*" not in (principal["type"], *principal["identifiers"]), name


def test_the_loader_reads_what_lands_and_nothing_else(
    blocks: Blocks,
) -> None:
    rights = {
        statement["sid"]: (set(statement["actions"]), statement["resources"])
        for _, statement in statements(blocks, "Allow", "loader")
    }
    bucket = "module.landing.arn"
    assert rights.pop("List") == ({"s3:ListBucket"}, [bucket])
    assert rights.pop("Read") == ({"s3:GetObject"}, [f"${{{bucket}}}/landing/*"])
    actions, queues = rights.pop("TakeArrivals")
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage"} <= actions
    assert not {"sqs:SendMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes"} & actions
    assert queues == ["aws_sqs_queue.arrivals.arn"]
    assert not rights


def test_the_loader_alone_puts_messages_on_the_bus_and_reads_none(
    blocks: Blocks, resources: dict[tuple[str, ...], Block]
) -> None:
    stream = resources["aws_kinesis_stream", "bus"]
    assert (stream["encryption_type"], stream["kms_key_id"]) == ("KMS", "alias/aws/kinesis")
    # nobody pays for a stream that they did not ask for
    assert all(
        body["count"] == "var.event_bus ? 1 : 0"
        for body in (stream, resources["aws_iam_role_policy", "bus"])
    )
    assert blocks["variable"]["event_bus",]["default"] is False
    ((_, statement),) = statements(blocks, "Allow", "bus")
    source = (PROJECT_ROOT / "loaders/bus/kinesis.py").read_text(encoding="utf-8")
    assert statement["actions"] == sorted(set(re.findall(r"kinesis:[A-Z]\w+", source)))
    assert statement["resources"] == ["aws_kinesis_stream.bus[0].arn"]
    assert resources["aws_iam_role_policy", "bus"]["role"] == "aws_iam_role.loader.id"
    others = [
        name
        for name, found in statements(blocks, "Allow")
        if any(action.startswith("kinesis:") for action in found["actions"])
    ]
    assert others == ["bus"]


def test_snowflake_reads_segments_only_and_only_with_its_external_id(
    blocks: Blocks,
) -> None:
    actions = {
        action
        for _, statement in statements(blocks, "Allow", "snowflake")
        for action in statement["actions"]
    }
    assert actions == {
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetBucketLocation",
        "s3:ListBucket",
    }
    objects = [
        resource
        for _, statement in statements(blocks, "Allow", "snowflake")
        for resource in statement["resources"]
        if resource.endswith("*")
    ]
    assert objects == ["${module.landing.arn}/segments/*"]
    ((_, trust),) = statements(blocks, "Allow", "snowflake_trust")
    assert [condition["variable"] for condition in trust["condition"]] == ["sts:ExternalId"]


def test_who_erases_has_every_right_that_an_erasure_asks_for(blocks: Blocks) -> None:
    asked = set(re.findall(r"s3:[A-Z]\w+", (PROJECT_ROOT / "loaders/s3/versions.py").read_text()))
    granted = {
        action
        for _, statement in statements(blocks, "Allow", "erasure")
        for action in statement["actions"]
    }
    assert len(asked) >= 5
    assert asked <= granted


@pytest.fixture(scope="module")
def collector() -> Blocks:
    """What the module of the collector declares."""
    return blocks_of(COLLECTOR)


def test_the_collector_takes_what_it_needs_and_nothing_else(
    blocks: Blocks, collector: Blocks
) -> None:
    given = {(name,) for name in blocks["module"]["collector",]} - {("source",), ("count",)}
    assert given == set(collector["variable"])
    for name in ("api_keys", "radar_secret"):
        assert collector["variable"][name,]["sensitive"] is True
        assert blocks["variable"][f"collector_{name}",]["sensitive"] is True
    rights = {
        statement["sid"]: statement["actions"]
        for _, statement in statements(collector, "Allow", "function")
    }
    assert rights == {
        "HandOn": ["firehose:PutRecordBatch"],
        "Claim": ["dynamodb:PutItem"],
        "Log": ["logs:CreateLogStream", "logs:PutLogEvents"],
    }
    for _, statement in statements(collector, "Allow"):
        assert "*" not in statement.get("resources", [])
    written = [
        resource
        for _, statement in statements(collector, "Allow", "streams")
        if "s3:PutObject" in statement["actions"]
        for resource in statement["resources"]
    ]
    assert written == ["${var.bucket_arn}/landing/*", "${var.bucket_arn}/failed/*"]


def test_the_function_is_the_one_that_tests_call_and_streams_land_where_loads_look(
    collector: Blocks,
) -> None:
    from loaders.collector import gateway  # the AWS SDK takes long to import

    function = collector["resource"]["aws_lambda_function", "collector"]
    module, _, name = function["handler"].rpartition(".")
    assert (module, getattr(gateway, name)) == (gateway.__name__, gateway.handler)
    environment = function["environment"][0]["variables"]
    source = Path(str(gateway.__file__)).read_text(encoding="utf-8")
    assert all(variable in source for variable in environment)
    stream = collector["resource"]["aws_kinesis_firehose_delivery_stream", "landing"]
    to = stream["extended_s3_configuration"][0]
    assert to["prefix"].startswith("landing/${each.value}/process_hour=")
    assert to["file_extension"] == ".ndjson.gz"
    assert to["compression_format"] == "GZIP"


def test_only_the_bucket_may_tell_the_queue_and_what_fails_is_kept(
    blocks: Blocks, resources: dict[tuple[str, ...], Block]
) -> None:
    ((_, statement),) = statements(blocks, "Allow", "arrivals")
    assert statement["actions"] == ["sqs:SendMessage"]
    assert statement["principals"] == [{"type": "Service", "identifiers": ["s3.amazonaws.com"]}]
    conditions = {entry["variable"]: entry for entry in statement["condition"]}
    assert conditions["aws:SourceArn"]["test"] == "ArnEquals"
    assert conditions["aws:SourceArn"]["values"] == ["module.landing.arn"]
    assert conditions["aws:SourceAccount"]["test"] == "StringEquals"
    queue = resources["aws_sqs_queue", "arrivals"]
    assert "aws_sqs_queue.arrivals_dead.arn" in queue["redrive_policy"]
    assert all(
        body["sqs_managed_sse_enabled"] is True
        for (kind, _), body in resources.items()
        if kind == "aws_sqs_queue"
    )
    notification = resources["aws_s3_bucket_notification", "landing"]
    (told,) = notification["queue"]
    assert told["queue_arn"] == "aws_sqs_queue.arrivals.arn"
    assert told["filter_prefix"] == "landing/"
    # the queue of Snowpipe hears of segments alone: S3 refuses two that overlap
    (content,) = notification["dynamic"][0]["queue"]["content"]
    assert content["filter_prefix"] == "segments/"


def test_the_readme_names_every_variable_and_output(
    blocks: Blocks,
) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for (name,) in [*blocks["variable"], *blocks["output"]]:
        assert f"`{name}`" in readme, name


def test_the_files_are_formatted(tmp_path: Path) -> None:
    program = shutil.which("tofu") or shutil.which("terraform")
    if program is None:
        pytest.skip("neither tofu nor terraform is installed")
    configuration = tmp_path / "empty.rc"
    configuration.touch()
    outcome = subprocess.run(
        [program, "fmt", "-check", "-recursive", "-diff", str(FOLDER)],
        env={
            "PATH": str(Path(program).parent),
            "HOME": str(tmp_path),
            "TF_CLI_CONFIG_FILE": str(configuration),
            "CHECKPOINT_DISABLE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
