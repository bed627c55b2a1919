variable "region" {
  description = "Region of the key stores: KMS looks from there, so the daemon does."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the proxies."
  type        = string
}

variable "private_subnet_ids" {
  description = "Private subnets in two zones at least, for the load balancer, the interface endpoints and the daemon."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "KMS takes only services in two zones or more."
  }
}

variable "proxy_private_dns_name" {
  description = "The host of XksProxyUriEndpoint, in a public domain of yours: it is verified by a TXT record."
  type        = string
}

variable "proxy_addresses" {
  description = "IPv4 addresses of the XKS proxies in the VPC."
  type        = list(string)
}

variable "proxy_port" {
  description = "Where the proxies listen. KMS connects to 443, which the load balancer forwards here."
  type        = number
  default     = 443
}

variable "may_change" {
  description = "Whether the daemon may change key stores (operator) or only look (observer)."
  type        = bool
  default     = false
}

variable "client_cidrs" {
  description = "Who may call the daemon's API and scrape it."
  type        = list(string)
}

variable "tags" {
  description = "On everything."
  type        = map(string)
  default     = {}
}
