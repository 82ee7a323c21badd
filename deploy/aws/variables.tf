variable "bucket" {
  description = "Name of the landing bucket; its copy in the second region has `-copy` after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,56}[a-z0-9]$", var.bucket))
    error_message = "Use 3 to 58 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where files land."
  type        = string
}

variable "second_region" {
  description = "Where the copy is; another one than region."
  type        = string
}

variable "loader_principals" {
  description = "ARNs of the roles or users that may become the loader, never a wildcard."
  type        = list(string)

  validation {
    condition = length(var.loader_principals) > 0 && alltrue([
      for arn in var.loader_principals : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))
    ])
    error_message = "Name at least one role or user by its whole ARN."
  }
}

variable "noncurrent_days" {
  description = "For how long replaced and deleted versions stay; also how long erased persons may be in them, unless who erases deletes the versions."
  type        = number
  default     = 30
}

variable "snowpipe_queue_arn" {
  description = "The notification_channel of `desc pipe larder_raw.landing.segments_pipe`; empty: no Snowpipe."
  type        = string
  default     = ""
}

variable "snowflake_user_arn" {
  description = "STORAGE_AWS_IAM_USER_ARN of `desc integration larder_segments`; empty: not known yet, nobody may become the role."
  type        = string
  default     = ""
}

variable "snowflake_external_id" {
  description = "STORAGE_AWS_EXTERNAL_ID of `desc integration larder_segments`."
  type        = string
  default     = ""
}

variable "event_bus" {
  description = "Whether there is a stream for trip events."
  type        = bool
  default     = false
}

variable "event_bus_hours" {
  description = "For how long the stream keeps a message; also how long the tokens of erased persons may be in it."
  type        = number
  default     = 24
}

variable "collector_package" {
  description = "Path of the function's zip; empty: no collector on Lambda."
  type        = string
  default     = ""
}

variable "collector_entities" {
  description = "Which <source>/<entity> the collector takes; each has a delivery stream."
  type        = set(string)
  default     = ["trips/trip_events", "menu/menu_events"]
}

variable "collector_api_keys" {
  description = "LARDER_API_KEYS of the collector: who may send what."
  type        = string
  default     = ""
  sensitive   = true
}

variable "collector_radar_secret" {
  description = "LARDER_RADAR_SECRET of the collector: what the delivery provider signs with."
  type        = string
  default     = ""
  sensitive   = true
}

variable "collector_menu_origins" {
  description = "LARDER_MENU_ORIGINS of the collector: the sites whose pages may send menu events."
  type        = string
  default     = ""
}

variable "collector_requests_per_second" {
  description = "More requests than that are told to come again."
  type        = number
  default     = 500
}
