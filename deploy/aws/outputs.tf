output "landing_url" {
  description = "LARDER_LANDING"
  value       = "s3://${module.landing.id}/landing"
}

output "segments_url" {
  description = "LARDER_SNOWFLAKE_SEGMENTS_URL"
  value       = "s3://${module.landing.id}/segments/"
}

output "segments_role_arn" {
  description = "LARDER_SNOWFLAKE_SEGMENTS_ROLE_ARN"
  value       = aws_iam_role.snowflake.arn
}

output "loader_role_arn" {
  description = "The role that the loader works in."
  value       = aws_iam_role.loader.arn
}

output "arrivals_queue_url" {
  description = "Where the loader is told what has landed."
  value       = aws_sqs_queue.arrivals.id
}

output "erasure_policy_arn" {
  description = "For the role of who erases persons."
  value       = aws_iam_policy.erasure.arn
}

output "bus" {
  description = "LARDER_BUS; empty without an event bus."
  value       = join("", [for stream in aws_kinesis_stream.bus : "kinesis://${stream.name}"])
}

output "collector_url" {
  description = "Where events are sent to, before /v1; empty without a collector."
  value       = join("", module.collector[*].url)
}
