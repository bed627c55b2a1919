# Where the daemon stands. KMS comes to the proxies from its own VPC through PrivateLink; a daemon in the same subnets that
# goes through the load balancer (connect_to its zonal names) takes the same way from there on. It shows DNS, TLS, proxies and
# key managers as KMS meets them, a few milliseconds nearer; the permission of KMS itself is read from EC2 (vpc.* checks).
#
# Calls to AWS stay in the VPC, too: through interface endpoints, and no NAT gateway is needed for a VPC key store.
locals {
  # Each API that the code calls. IAM has its endpoint in us-east-1 alone and is asked only if kms.permissions_of is set.
  apis = toset(["kms", "ec2", "elasticloadbalancing", "cloudhsmv2", "secretsmanager", "sts"])
}

resource "aws_vpc_endpoint" "api" {
  for_each            = local.apis
  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${var.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.apis.id]
  private_dns_enabled = true
  tags                = var.tags
}

resource "aws_security_group" "apis" {
  name        = "xks-preflight-apis"
  description = "Interface endpoints of the APIs that xks-preflight calls"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "apis" {
  security_group_id            = aws_security_group.apis.id
  referenced_security_group_id = aws_security_group.xks_preflight.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# Give this to the instance or task that runs the daemon.
resource "aws_security_group" "xks_preflight" {
  name        = "xks-preflight"
  description = "The daemon"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = toset(var.client_cidrs)
  security_group_id = aws_security_group.xks_preflight.id
  description       = "API, metrics and page, by TLS"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 8480
  to_port           = 8481
}

resource "aws_vpc_security_group_egress_rule" "to_load_balancer" {
  security_group_id            = aws_security_group.xks_preflight.id
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "to_apis" {
  security_group_id            = aws_security_group.xks_preflight.id
  referenced_security_group_id = aws_security_group.apis.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}
