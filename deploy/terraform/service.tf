# The VPC endpoint service through which KMS reaches the proxies, as KMS wants it: a network load balancer in two zones, TCP on
# 443, IPv4, nobody's acceptance, the principal of KMS in this Region, a private DNS name whose domain is verified.
# xks-preflight's vpc.* checks look at each of these.
resource "aws_lb" "xks_proxy" {
  name                             = "xks-proxy"
  load_balancer_type               = "network"
  internal                         = true
  ip_address_type                  = "ipv4"
  subnets                          = var.private_subnet_ids
  enable_cross_zone_load_balancing = true
  security_groups                  = [aws_security_group.load_balancer.id]
  # What comes by PrivateLink has addresses of KMS's VPC, which nobody knows: rules would keep it out.
  enforce_security_group_inbound_rules_on_private_link_traffic = "off"
  tags                                                         = var.tags
}

resource "aws_lb_target_group" "xks_proxy" {
  name        = "xks-proxy"
  target_type = "ip"
  protocol    = "TCP"
  port        = var.proxy_port
  vpc_id      = var.vpc_id
  # A PROXY protocol header before the TLS handshake breaks it.
  proxy_protocol_v2 = false
  tags              = var.tags

  health_check {
    protocol = "TCP"
    interval = 10
  }
}

resource "aws_lb_target_group_attachment" "xks_proxy" {
  for_each         = toset(var.proxy_addresses)
  target_group_arn = aws_lb_target_group.xks_proxy.arn
  target_id        = each.value
}

resource "aws_lb_listener" "xks_proxy" {
  load_balancer_arn = aws_lb.xks_proxy.arn
  # The proxies end TLS themselves.
  protocol = "TCP"
  port     = 443

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.xks_proxy.arn
  }
}

resource "aws_vpc_endpoint_service" "xks_proxy" {
  acceptance_required        = false
  network_load_balancer_arns = [aws_lb.xks_proxy.arn]
  supported_ip_address_types = ["ipv4"]
  private_dns_name           = var.proxy_private_dns_name
  allowed_principals         = ["cks.kms.${var.region}.amazonaws.com"]
  tags                       = var.tags
}

resource "aws_security_group" "load_balancer" {
  name        = "xks-proxy-load-balancer"
  description = "The load balancer of the XKS proxies"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "from_daemon" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "The daemon looks at the zonal names of the load balancer"
  referenced_security_group_id = aws_security_group.xks_preflight.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "to_proxies" {
  for_each          = toset(var.proxy_addresses)
  security_group_id = aws_security_group.load_balancer.id
  cidr_ipv4         = "${each.value}/32"
  ip_protocol       = "tcp"
  from_port         = var.proxy_port
  to_port           = var.proxy_port
}
