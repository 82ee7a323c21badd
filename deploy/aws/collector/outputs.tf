output "url" {
  description = "Where events are sent to, before /v1."
  value       = aws_apigatewayv2_api.collector.api_endpoint
}
