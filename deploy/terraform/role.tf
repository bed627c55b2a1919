# The daemon's own identity. A key store is no IAM resource, so IAM cannot tell one from another: who may change which one is
# a matter of xks-preflight's own roles (tokens, client_certificates, oidc).
data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "xks_preflight" {
  # deploy/iam/operator.json lets this name ask what it may do (kms.permissions_of).
  name               = "xks-preflight"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "xks_preflight" {
  name   = var.may_change ? "operator" : "observer"
  role   = aws_iam_role.xks_preflight.id
  policy = file("${path.module}/../iam/${var.may_change ? "operator" : "observer"}.json")
}

resource "aws_iam_instance_profile" "xks_preflight" {
  name = "xks-preflight"
  role = aws_iam_role.xks_preflight.name
  tags = var.tags
}
