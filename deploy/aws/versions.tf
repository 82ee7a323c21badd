# Works with OpenTofu and with Terraform. State holds no secret, but keep it remote and locked:
# see README.md.
terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

provider "aws" {
  alias  = "second"
  region = var.second_region
}

data "aws_caller_identity" "current" {}
