# The function: the collector's own checks, in an environment that is encrypted at rest.

resource "aws_lambda_function" "collector" {
  function_name    = "${var.name}-collector"
  role             = aws_iam_role.function.arn
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = "loaders.collector.gateway.handler"
  runtime          = "python3.11"
  timeout          = 25 # API Gateway gives up after 30 seconds
  memory_size      = 512

  environment {
    variables = {
      LARDER_API_KEYS            = var.api_keys
      LARDER_RADAR_SECRET        = var.radar_secret
      LARDER_MENU_ORIGINS        = var.menu_origins
      LARDER_COLLECT_STREAMS     = var.name
      LARDER_COLLECT_SIGNING_IDS = aws_dynamodb_table.signing_ids.name
    }
  }
}

# For good: a signature never expires.
resource "aws_dynamodb_table" "signing_ids" {
  name         = "${var.name}-signing-ids"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "signing_id"

  attribute {
    name = "signing_id"
    type = "B"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}

data "aws_iam_policy_document" "function_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  name               = "${var.name}-collector"
  assume_role_policy = data.aws_iam_policy_document.function_trust.json
}

data "aws_iam_policy_document" "function" {
  statement {
    sid       = "HandOn"
    effect    = "Allow"
    actions   = ["firehose:PutRecordBatch"]
    resources = [for stream in aws_kinesis_firehose_delivery_stream.landing : stream.arn]
  }

  statement {
    sid       = "Claim"
    effect    = "Allow"
    actions   = ["dynamodb:PutItem"]
    resources = [aws_dynamodb_table.signing_ids.arn]
  }

  statement {
    sid       = "Log"
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function.arn}:*"]
  }
}

resource "aws_iam_role_policy" "function" {
  name   = "collect"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}-collector"
  retention_in_days = 30
}
