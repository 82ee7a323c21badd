# The landing bucket (files arrive below landing/, segments of another loader for Snowpipe below
# segments/) and its copy in the second region, guarded alike.

module "landing" {
  source          = "./guarded_bucket"
  name            = var.bucket
  noncurrent_days = var.noncurrent_days
}

module "copy" {
  source          = "./guarded_bucket"
  name            = "${var.bucket}-copy"
  noncurrent_days = var.noncurrent_days

  providers = {
    aws = aws.second
  }
}
