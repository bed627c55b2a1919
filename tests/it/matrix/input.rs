//! Values that are wrong before any network is needed.

use super::row::*;

/// Endpoint and path of 128 characters each pass KMS's own rules and leave no room for a key.
const LONG_HOST: &str = "a2345678.b23456789.c23456789.d23456789.e23456789.f23456789.g23456789.h23456789.i23456789.j23456789.k23456789.example.com";
const LONG_PATH: &str = "/a23456789/b23456789/c23456789/d23456789/e23456789/f23456789/g23456789/h23456789/i23456789/j23456789/k23456789/kms/xks/v1";

const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0";

pub(super) const ROWS: &[Row] = &[
    values(
        "an endpoint with http:// in front",
        &["--endpoint", "http://xks.example.com"],
        blocked("input.endpoint_syntax", "syntax", VALIDATION),
    ),
    values(
        "an endpoint with a port",
        &["--endpoint", "https://xks.example.com:443"],
        blocked("input.endpoint_syntax", "syntax", VALIDATION),
    ),
    values(
        "an endpoint with a path",
        &["--endpoint", "https://xks.example.com/kms"],
        blocked("input.endpoint_syntax", "syntax", VALIDATION),
    ),
    values(
        "an endpoint of 9 characters",
        &["--endpoint", "https://x"],
        blocked("input.endpoint_syntax", "syntax", VALIDATION),
    ),
    values(
        "an IP address as host",
        &["--endpoint", "https://127.0.0.1"],
        blocked("input.endpoint_fqdn", "not_fully_qualified", NOT_REACHABLE),
    ),
    values(
        "a host of one label",
        &["--endpoint", "https://localhost"],
        blocked("input.endpoint_fqdn", "not_fully_qualified", NOT_REACHABLE),
    ),
    values(
        "a host that ends with a dot",
        &["--endpoint", "https://xks.example.com."],
        blocked("input.endpoint_fqdn", "not_fully_qualified", NOT_REACHABLE),
    ),
    values(
        "a path without /kms/xks/v1",
        &["--path", "/example/xks"],
        blocked("input.path_syntax", "syntax", VALIDATION),
    ),
    values(
        "a path that ends in a slash",
        &["--path", "/example/kms/xks/v1/"],
        blocked("input.path_syntax", "syntax", VALIDATION),
    ),
    values(
        "a path of API version 2",
        &["--path", "/example/kms/xks/v2"],
        blocked("input.path_version", "unknown_version", INVALID_CONFIGURATION),
    ),
    values(
        "a path that the proxy does not serve",
        &["--path", "/other/kms/xks/v1"],
        blocked("http.status", "proxy_error", INVALID_CONFIGURATION),
    ),
    values(
        "a path with a doubled slash",
        &["--path", "/example//kms/xks/v1"],
        blocked("input.path_canonical", "empty_segment", INVALID_CONFIGURATION),
    ),
    run_by(
        |row| Box::pin(long_uri(row)),
        "an endpoint and a path that leave no room for a key id",
        blocked("input.uri_length", "too_long", UNSAID),
    ),
    values(
        "an access key id with a digit that AWS does not use",
        &["--access-key-id", "AKIAIOSFODNN78901234", "--secret-file", "{directory}/good.secret", "--path", "{path}"],
        blocked("input.access_key_id", "syntax", VALIDATION),
    ),
    values(
        "a secret of 19 characters",
        &["--access-key-id", "{id}", "--secret-file", "{directory}/short.secret", "--path", "{path}"],
        blocked("input.secret_access_key", "syntax", VALIDATION),
    ),
    run_by(
        |row| Box::pin(weak_secret(row)),
        "a secret that repeats itself, and the proxy takes it",
        warned("input.secret_strength", "weak_secret"),
    ),
    values(
        "VPC connectivity without a service name",
        &["--connectivity", "vpc"],
        blocked("input.service_name", "member_missing", raises_service_not_found()),
    ),
    values(
        "a VPC endpoint service name that is none",
        &["--connectivity", "vpc", "--vpc-endpoint-service", "my-service"],
        blocked("input.service_name", "syntax", raises_service_not_found()),
    ),
    values(
        "a VPC endpoint service of another Region",
        &["--connectivity", "vpc", "--region", "eu-central-1", "--vpc-endpoint-service", SERVICE],
        blocked("input.service_name", "wrong_region", raises_service_not_found()),
    ),
    values(
        "VPC connectivity as it should be",
        &["--connectivity", "vpc", "--vpc-endpoint-service", SERVICE],
        Expected::Permitted,
    ),
];

const fn raises_service_not_found() -> Kms {
    Kms {
        exception: Some("XksProxyVpcEndpointServiceNotFoundException"),
        code: Some("XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND"),
    }
}

async fn weak_secret(row: &'static Row) -> Seen {
    let mut stage = super::Stage::new();
    let secret = std::fs::read_to_string(stage.directory.join("repeating.secret")).unwrap();
    let proxy = stage.add_proxy(|_| {}).await;
    proxy.add_credential("AKIAI2SFODNN7EXAMPLE", secret);
    let arguments = [
        "--access-key-id",
        "AKIAI2SFODNN7EXAMPLE",
        "--secret-file",
        "{directory}/repeating.secret",
        "--path",
        "{path}",
    ];
    stage.check(&[&arguments, row.arguments].concat()).await
}

async fn long_uri(row: &'static Row) -> Seen {
    let mut stage = super::Stage::new();
    stage
        .add_proxy(|settings| {
            settings.host_names = vec![LONG_HOST.to_owned()];
            LONG_PATH.clone_into(&mut settings.uri_path);
        })
        .await;
    let endpoint = format!("https://{LONG_HOST}");
    stage.check(&[&["--endpoint", &endpoint, "--path", LONG_PATH], row.arguments].concat()).await
}
