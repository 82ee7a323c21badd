# The event bus: a stream for the trip events that are wanted at once, which the loader alone fills.
# On demand: it costs by the hour also when nothing goes over it, so only where it is asked for.

resource "aws_kinesis_stream" "bus" {
  count            = var.event_bus ? 1 : 0
  name             = "${var.bucket}-trip-events"
  retention_period = var.event_bus_hours
  encryption_type  = "KMS"
  kms_key_id       = "alias/aws/kinesis"

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }
}

data "aws_iam_policy_document" "bus" {
  count = var.event_bus ? 1 : 0

  statement {
    sid       = "Publish"
    effect    = "Allow"
    actions   = ["kinesis:PutRecords"]
    resources = [aws_kinesis_stream.bus[0].arn]
  }
}

resource "aws_iam_role_policy" "bus" {
  count  = var.event_bus ? 1 : 0
  name   = "publish"
  role   = aws_iam_role.loader.id
  policy = data.aws_iam_policy_document.bus[0].json
}
