variable "name" {
  description = "Name of the bucket."
  type        = string
}

variable "noncurrent_days" {
  description = "For how long replaced and deleted versions stay."
  type        = number
}
