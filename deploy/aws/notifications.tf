# What lands is told to a queue that the loader reads; what it cannot take five times goes to a
# dead-letter queue. Segments that another loader drops are told to Snowpipe's own queue,
# in Snowflake's account.

resource "aws_sqs_queue" "arrivals_dead" {
  name                      = "${var.bucket}-arrivals-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "arrivals" {
  name                       = "${var.bucket}-arrivals"
  message_retention_seconds  = 1209600
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 900
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.arrivals_dead.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "arrivals_dead" {
  queue_url = aws_sqs_queue.arrivals_dead.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.arrivals.arn]
  })
}

data "aws_iam_policy_document" "arrivals" {
  statement {
    effect    = "Allow"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.arrivals.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [module.landing.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "arrivals" {
  queue_url = aws_sqs_queue.arrivals.id
  policy    = data.aws_iam_policy_document.arrivals.json
}

resource "aws_s3_bucket_notification" "landing" {
  bucket     = module.landing.id
  depends_on = [aws_sqs_queue_policy.arrivals]

  queue {
    id            = "arrivals"
    queue_arn     = aws_sqs_queue.arrivals.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "landing/"
  }

  dynamic "queue" {
    for_each = var.snowpipe_queue_arn == "" ? [] : [var.snowpipe_queue_arn]

    content {
      id            = "snowpipe"
      queue_arn     = queue.value
      events        = ["s3:ObjectCreated:*"]
      filter_prefix = "segments/"
    }
  }
}
