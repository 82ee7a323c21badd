# The copy of the landing bucket in the second region, guarded like the first.

resource "aws_s3_bucket" "copy" {
  provider = aws.second
  bucket   = "${var.bucket}-copy"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "copy" {
  provider = aws.second
  bucket   = aws_s3_bucket.copy.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "copy" {
  provider = aws.second
  bucket   = aws_s3_bucket.copy.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "copy" {
  provider = aws.second
  bucket   = aws_s3_bucket.copy.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "copy" {
  provider = aws.second
  bucket   = aws_s3_bucket.copy.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "copy" {
  provider   = aws.second
  bucket     = aws_s3_bucket.copy.id
  depends_on = [aws_s3_bucket_versioning.copy]

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "copy_tls_only" {
  statement {
    sid     = "NothingWithoutTls"
    effect  = "Deny"
    actions = ["s3:*"]
    resources = [
      aws_s3_bucket.copy.arn,
      "${aws_s3_bucket.copy.arn}/*",
    ]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "copy" {
  provider   = aws.second
  bucket     = aws_s3_bucket.copy.id
  policy     = data.aws_iam_policy_document.copy_tls_only.json
  depends_on = [aws_s3_bucket_public_access_block.copy]
}
