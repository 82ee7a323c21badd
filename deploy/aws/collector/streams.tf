# What the function hands on lands within a minute, in files as the loader reads them.

resource "aws_kinesis_firehose_delivery_stream" "landing" {
  for_each    = var.entities
  name        = "${var.name}-${replace(each.value, "/", "-")}"
  destination = "extended_s3"

  server_side_encryption {
    enabled = true
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.streams.arn
    bucket_arn          = var.bucket_arn
    prefix              = "landing/${each.value}/process_hour=!{timestamp:yyyy-MM-dd'T'HH}/"
    error_output_prefix = "failed/${each.value}/!{firehose:error-output-type}/"
    file_extension      = ".ndjson.gz"
    compression_format  = "GZIP"
    buffering_interval  = 60
    buffering_size      = 64
  }
}

data "aws_iam_policy_document" "streams_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["firehose.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "streams" {
  name               = "${var.name}-streams"
  assume_role_policy = data.aws_iam_policy_document.streams_trust.json
}

data "aws_iam_policy_document" "streams" {
  statement {
    effect    = "Allow"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket_arn}/landing/*", "${var.bucket_arn}/failed/*"]
  }

  statement {
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [var.bucket_arn]
  }
}

resource "aws_iam_role_policy" "streams" {
  name   = "land"
  role   = aws_iam_role.streams.id
  policy = data.aws_iam_policy_document.streams.json
}
