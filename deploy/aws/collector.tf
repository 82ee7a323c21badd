# Events over HTTP without a host of one's own; only where there is a package for the function.

module "collector" {
  count               = var.collector_package == "" ? 0 : 1
  source              = "./collector"
  name                = var.bucket
  bucket_arn          = module.landing.arn
  package             = var.collector_package
  entities            = var.collector_entities
  api_keys            = var.collector_api_keys
  radar_secret        = var.collector_radar_secret
  menu_origins        = var.collector_menu_origins
  requests_per_second = var.collector_requests_per_second
}
