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
Block = dict[str, Any]
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


@pytest.fixture(scope="module")
def blocks() -> dict[str, dict[tuple[str, ...], Block]]:
    """Kind of block → its labels → its content, of all files."""
    found: dict[str, dict[tuple[str, ...], Block]] = {}
    files = sorted(FOLDER.glob("*.tf"))
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
                depth = {"resource": 2, "data": 2, "variable": 1, "output": 1, "provider": 1}
                for _ in range(depth.get(kind, 0)):
                    ((label, body),) = body.items()
                    labels.append(label)
                if kind == "provider":
                    labels.append(body.get("alias", ""))
                key = tuple(labels)
                assert key not in found.setdefault(kind, {}), f"{file.name}: {kind} {key} again"
                found[kind][key] = body
    return found


@pytest.fixture(scope="module")
def resources(
    blocks: dict[str, dict[tuple[str, ...], Block]],
) -> dict[tuple[str, ...], Block]:
    """The resources by type and name."""
    return blocks["resource"]


def statements(
    blocks: dict[str, dict[tuple[str, ...], Block]], effect: str, name: str = ""
) -> Iterator[tuple[str, Block]]:
    """Yield the statements of policies with that effect, each with the name of its document."""
    for (kind, document), body in blocks["data"].items():
        if kind == "aws_iam_policy_document" and name in ("", document):
            for statement in body["statement"]:
                if statement["effect"] == effect:
                    yield document, statement


def text_of(blocks: dict[str, dict[tuple[str, ...], Block]]) -> str:
    """Return all files as one text, without comments."""
    files = (file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.tf")))
    assert blocks
    return re.sub(r"(?m)^\s*#.*$", "", "\n".join(files))


def test_everything_that_is_referred_to_is_declared(
    blocks: dict[str, dict[tuple[str, ...], Block]],
) -> None:
    text = text_of(blocks)
    for is_data, kind, name in REFERENCE.findall(text):
        assert (kind, name) in blocks["data" if is_data else "resource"], f"{kind}.{name}"
    used = set(re.findall(r"\bvar\.(\w+)", text))
    assert used == {name for (name,) in blocks["variable"]}
    for (name,), body in (blocks["variable"] | blocks["output"]).items():
        assert body["description"], name
    assert {alias for _, alias in blocks["provider"]} == {"", "second"}


@pytest.mark.parametrize("name", ["landing", "copy"])
def test_a_bucket_is_encrypted_versioned_private_and_kept(
    name: str, resources: dict[tuple[str, ...], Block]
) -> None:
    bucket = f"aws_s3_bucket.{name}.id"
    assert resources["aws_s3_bucket", name]["lifecycle"][0]["prevent_destroy"] is True
    encryption = resources["aws_s3_bucket_server_side_encryption_configuration", name]
    (by_default,) = encryption["rule"][0]["apply_server_side_encryption_by_default"]
    assert by_default["sse_algorithm"] in ("AES256", "aws:kms")
    versioning = resources["aws_s3_bucket_versioning", name]
    assert versioning["versioning_configuration"][0]["status"] == "Enabled"
    access = resources["aws_s3_bucket_public_access_block", name]
    for setting in (
        "block_public_acls",
        "block_public_policy",
        "ignore_public_acls",
        "restrict_public_buckets",
    ):
        assert access[setting] is True
    ownership = resources["aws_s3_bucket_ownership_controls", name]
    assert ownership["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
    lifecycle = resources["aws_s3_bucket_lifecycle_configuration", name]["rule"][0]
    assert lifecycle["status"] == "Enabled"
    old = lifecycle["noncurrent_version_expiration"][0]
    assert old["noncurrent_days"] == "var.noncurrent_days"
    parts = (encryption, versioning, access, ownership, resources["aws_s3_bucket_policy", name])
    assert all(part["bucket"] == bucket for part in parts)


def test_all_of_the_copy_and_nothing_else_is_in_the_second_region(
    resources: dict[tuple[str, ...], Block],
) -> None:
    second = {key for key, body in resources.items() if body.get("provider") == "aws.second"}
    assert second == {key for key in resources if key[1] == "copy"}
    assert len(second) == 7


@pytest.mark.parametrize("name", ["landing", "copy"])
def test_nothing_is_read_or_written_without_tls(
    name: str, blocks: dict[str, dict[tuple[str, ...], Block]]
) -> None:
    ((_, statement),) = statements(blocks, "Deny", f"{name}_tls_only")
    assert statement["actions"] == ["s3:*"]
    bucket = f"aws_s3_bucket.{name}.arn"
    assert statement["resources"] == [bucket, f"${{{bucket}}}/*"]
    assert statement["principals"] == [{"type": "*", "identifiers": ["*"]}]
    assert statement["condition"] == [
        {"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]}
    ]
    policy = blocks["resource"]["aws_s3_bucket_policy", name]["policy"]
    assert policy == f"data.aws_iam_policy_document.{name}_tls_only.json"


def test_what_lands_is_copied_to_the_second_region(
    resources: dict[tuple[str, ...], Block],
) -> None:
    replication = resources["aws_s3_bucket_replication_configuration", "landing"]
    assert replication["role"] == "aws_iam_role.replication.arn"
    # S3 refuses it before both are versioned
    assert set(replication["depends_on"]) == {
        "aws_s3_bucket_versioning.landing",
        "aws_s3_bucket_versioning.copy",
    }
    (rule,) = replication["rule"]
    assert rule["status"] == "Enabled"
    assert rule["destination"][0]["bucket"] == "aws_s3_bucket.copy.arn"
    assert rule["delete_marker_replication"] == [{"status": "Enabled"}]


def test_no_policy_allows_everything_to_anybody(
    blocks: dict[str, dict[tuple[str, ...], Block]],
) -> None:
    allowed = list(statements(blocks, "Allow"))
    assert len(allowed) > 10
    for name, statement in allowed:
        assert not statement.get("not_actions"), name
        for action in statement["actions"]:
            assert re.fullmatch(r"(s3|sqs|sts):[A-Za-z]+", action), f"{name}: {action}"
        for resource in statement.get("resources", []):
            assert re.match(r"(\$\{)?aws_(s3_bucket|sqs_queue)\.\w+\.arn", resource), name
        for principal in statement.get("principals", []):
            assert "*" not in (principal["type"], *principal["identifiers"]), name


def test_the_loader_reads_what_lands_and_writes_segments_only(
    blocks: dict[str, dict[tuple[str, ...], Block]],
) -> None:
    rights = {
        statement["sid"]: (set(statement["actions"]), statement["resources"])
        for _, statement in statements(blocks, "Allow", "loader")
    }
    bucket = "aws_s3_bucket.landing.arn"
    landing, segments = f"${{{bucket}}}/landing/*", f"${{{bucket}}}/segments/*"
    assert rights.pop("List") == ({"s3:ListBucket"}, [bucket])
    assert rights.pop("Read") == ({"s3:GetObject"}, [landing, segments])
    assert rights.pop("WriteSegments") == ({"s3:PutObject", "s3:AbortMultipartUpload"}, [segments])
    actions, queues = rights.pop("TakeArrivals")
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage"} <= actions
    assert not {"sqs:SendMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes"} & actions
    assert queues == ["aws_sqs_queue.arrivals.arn"]
    assert not rights


def test_snowflake_reads_segments_only_and_only_with_its_external_id(
    blocks: dict[str, dict[tuple[str, ...], Block]],
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
    assert objects == ["${aws_s3_bucket.landing.arn}/segments/*"]
    ((_, trust),) = statements(blocks, "Allow", "snowflake_trust")
    assert [condition["variable"] for condition in trust["condition"]] == ["sts:ExternalId"]


def test_only_the_bucket_may_tell_the_queue_and_what_fails_is_kept(
    blocks: dict[str, dict[tuple[str, ...], Block]], resources: dict[tuple[str, ...], Block]
) -> None:
    ((_, statement),) = statements(blocks, "Allow", "arrivals")
    assert statement["actions"] == ["sqs:SendMessage"]
    assert statement["principals"] == [{"type": "Service", "identifiers": ["s3.amazonaws.com"]}]
    conditions = {entry["variable"]: entry for entry in statement["condition"]}
    assert conditions["aws:SourceArn"]["test"] == "ArnEquals"
    assert conditions["aws:SourceArn"]["values"] == ["aws_s3_bucket.landing.arn"]
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
    blocks: dict[str, dict[tuple[str, ...], Block]],
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
