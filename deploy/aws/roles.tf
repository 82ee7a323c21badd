# Who may do what: the loader, Snowflake and who erases, each as little as its work needs.

data "aws_iam_policy_document" "loader_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.loader_principals
    }
  }
}

resource "aws_iam_role" "loader" {
  name               = "${var.bucket}-loader"
  assume_role_policy = data.aws_iam_policy_document.loader_trust.json
}

# The loader reads what lands, and changes and deletes nothing of it. Its segments go to Snowflake's
# internal stage, so it has no right below segments/: give one to the loader that drops files there.
data "aws_iam_policy_document" "loader" {
  statement {
    sid       = "List"
    effect    = "Allow"
    actions   = ["s3:ListBucket"]
    resources = [module.landing.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["landing/*"]
    }
  }

  statement {
    sid       = "Read"
    effect    = "Allow"
    actions   = ["s3:GetObject"]
    resources = ["${module.landing.arn}/landing/*"]
  }

  statement {
    sid    = "TakeArrivals"
    effect = "Allow"
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
      "sqs:GetQueueUrl",
    ]
    resources = [aws_sqs_queue.arrivals.arn]
  }
}

resource "aws_iam_role_policy" "loader" {
  name   = "load"
  role   = aws_iam_role.loader.id
  policy = data.aws_iam_policy_document.loader.json
}

# Snowflake reads segments and nothing else. Until its user is known, only this account itself is
# named, and no external id: nobody outside can become the role.
data "aws_iam_policy_document" "snowflake_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type = "AWS"
      identifiers = [
        var.snowflake_user_arn == "" ? data.aws_caller_identity.current.account_id : var.snowflake_user_arn
      ]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.snowflake_external_id == "" ? "not known yet" : var.snowflake_external_id]
    }
  }
}

resource "aws_iam_role" "snowflake" {
  name               = "${var.bucket}-snowflake"
  assume_role_policy = data.aws_iam_policy_document.snowflake_trust.json
}

data "aws_iam_policy_document" "snowflake" {
  statement {
    effect    = "Allow"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${module.landing.arn}/segments/*"]
  }

  statement {
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation"]
    resources = [module.landing.arn]
  }

  statement {
    effect    = "Allow"
    actions   = ["s3:ListBucket"]
    resources = [module.landing.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["segments/*"]
    }
  }
}

resource "aws_iam_role_policy" "snowflake" {
  name   = "read-segments"
  role   = aws_iam_role.snowflake.id
  policy = data.aws_iam_policy_document.snowflake.json
}

# For who erases persons, attached to nobody here: versions go in both buckets.
data "aws_iam_policy_document" "erasure" {
  statement {
    effect = "Allow"
    actions = [
      "s3:ListBucket",
      "s3:ListBucketVersions",
      "s3:GetBucketObjectLockConfiguration",
    ]
    resources = [module.landing.arn, module.copy.arn]
  }

  statement {
    effect = "Allow"
    actions = [
      "s3:GetObject",
      "s3:GetObjectVersion",
      "s3:PutObject",
      "s3:DeleteObject",
      "s3:DeleteObjectVersion",
    ]
    resources = ["${module.landing.arn}/*", "${module.copy.arn}/*"]
  }
}

resource "aws_iam_policy" "erasure" {
  name        = "${var.bucket}-erasure"
  description = "Rewrite landing files without a person, and delete the versions with them."
  policy      = data.aws_iam_policy_document.erasure.json
}
