variable "name" {
  description = "What the names of all parts begin with."
  type        = string
}

variable "bucket_arn" {
  description = "The landing bucket."
  type        = string
}

variable "package" {
  description = "The zip of the function."
  type        = string
}

variable "entities" {
  description = "Which <source>/<entity> may come."
  type        = set(string)
}

variable "api_keys" {
  description = "LARDER_API_KEYS: who may send what."
  type        = string
  sensitive   = true
}

variable "radar_secret" {
  description = "LARDER_RADAR_SECRET: what the delivery provider signs with."
  type        = string
  sensitive   = true
}

variable "menu_origins" {
  description = "LARDER_MENU_ORIGINS: the sites whose pages may send menu events."
  type        = string
}

variable "requests_per_second" {
  description = "More than that are told to come again."
  type        = number
}
