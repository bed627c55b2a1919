output "role_arn" {
  description = "kms.permissions_of"
  value       = aws_iam_role.xks_preflight.arn
}

output "instance_profile" {
  description = "For the instance that runs the daemon."
  value       = aws_iam_instance_profile.xks_preflight.name
}

output "security_group_id" {
  description = "For the instance that runs the daemon."
  value       = aws_security_group.xks_preflight.id
}

output "vpc_endpoint_service_name" {
  description = "XksProxyVpcEndpointServiceName"
  value       = aws_vpc_endpoint_service.xks_proxy.service_name
}

output "private_dns_verification" {
  description = "The TXT record that proves the domain; until then vpc.private_dns_verified fails."
  value       = aws_vpc_endpoint_service.xks_proxy.private_dns_name_configuration
}

output "route" {
  description = "For preflight.routes, so that probes go through the load balancer; one line for each zone's address is better."
  value       = { host = var.proxy_private_dns_name, connect_to = ["${aws_lb.xks_proxy.dns_name}:443"] }
}
