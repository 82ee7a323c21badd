output "arn" {
  description = "For policies."
  value       = aws_s3_bucket.this.arn
}

output "id" {
  description = "Its name, once it is there."
  value       = aws_s3_bucket.this.id
}
