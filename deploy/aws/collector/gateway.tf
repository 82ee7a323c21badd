# The HTTP API: it throttles, and hands everything else to the function, which decides.

resource "aws_apigatewayv2_api" "collector" {
  name          = "${var.name}-collector"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "collector" {
  api_id                 = aws_apigatewayv2_api.collector.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.collector.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "collector" {
  for_each  = toset(["POST /v1/{proxy+}", "OPTIONS /v1/{proxy+}", "GET /healthz"])
  api_id    = aws_apigatewayv2_api.collector.id
  route_key = each.value
  target    = "integrations/${aws_apigatewayv2_integration.collector.id}"
}

resource "aws_apigatewayv2_stage" "collector" {
  api_id      = aws_apigatewayv2_api.collector.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = var.requests_per_second
    throttling_burst_limit = var.requests_per_second * 2
  }
}

resource "aws_lambda_permission" "gateway" {
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.collector.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.collector.execution_arn}/*"
}
