//! The change that the options ask for, in KMS's own member names.

use std::env::VarError;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::server::Server;
use crate::cli::Usage;
use crate::cli::check::source;
use crate::key_store::ConnectivityKind;

/// What to change. What is not given stays as it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Change")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub struct ChangeOptions {
    /// CustomKeyStoreId of the key store.
    #[arg(long, env = "XKS_PREFLIGHT_KEY_STORE", value_name = "ID")]
    key_store: String,
    /// NewCustomKeyStoreName.
    #[arg(long, env = "XKS_PREFLIGHT_NEW_NAME", value_name = "NAME")]
    new_name: Option<String>,
    /// XksProxyUriEndpoint: https:// and the proxy's host.
    #[arg(long, env = "XKS_PREFLIGHT_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// XksProxyUriPath, for example /example/kms/xks/v1; by default that of --proxy-config.
    #[arg(long, env = "XKS_PREFLIGHT_PATH", value_name = "PATH")]
    path: Option<String>,
    /// XksProxyConnectivity.
    #[arg(long, env = "XKS_PREFLIGHT_CONNECTIVITY", value_enum)]
    connectivity: Option<Connectivity>,
    /// XksProxyVpcEndpointServiceName.
    #[arg(long, env = "XKS_PREFLIGHT_VPC_ENDPOINT_SERVICE", value_name = "NAME")]
    vpc_endpoint_service: Option<String>,
    /// XksProxyVpcEndpointServiceOwner: the AWS account that owns the service.
    #[arg(long, env = "XKS_PREFLIGHT_VPC_ENDPOINT_SERVICE_OWNER", value_name = "ACCOUNT")]
    vpc_endpoint_service_owner: Option<String>,
    /// XksProxyAuthenticationCredential: a credential in the daemon's configuration, by its name there.
    #[arg(long, env = "XKS_PREFLIGHT_CREDENTIAL_SOURCE", value_name = "NAME", conflicts_with = "proxy_config")]
    credential_source: Option<String>,
    /// The proxy configuration file that the KMS console takes: path and credential.
    #[arg(long, env = "XKS_PREFLIGHT_PROXY_CONFIG", value_name = "FILE")]
    proxy_config: Option<PathBuf>,
    /// CloudHsmClusterId: the cluster of a CloudHSM key store.
    #[arg(long, env = "XKS_PREFLIGHT_CLOUD_HSM_CLUSTER_ID", value_name = "ID")]
    cloud_hsm_cluster_id: Option<String>,
    /// KeyStorePassword of a CloudHSM key store: a file that holds the password of kmsuser and nothing else. Without
    /// the file the password may be in the environment variable XKS_PREFLIGHT_KEY_STORE_PASSWORD.
    #[arg(long, env = "XKS_PREFLIGHT_KEY_STORE_PASSWORD_FILE", value_name = "FILE")]
    key_store_password_file: Option<PathBuf>,
    /// Connect the key store if it is found DISCONNECTED.
    #[arg(long, env = "XKS_PREFLIGHT_CONNECT")]
    connect: bool,
    /// Agree that every KMS key in the store is unavailable while it must be disconnected: about ten minutes, up to
    /// 25 in a CloudHSM key store.
    #[arg(long, env = "XKS_PREFLIGHT_ACKNOWLEDGE_OUTAGE")]
    acknowledge_outage: bool,
    /// Rotate the proxy's credential: nothing else may change, and the update goes on after it was verified, until the
    /// former credential is proven refused. Removing that one at the proxy is left to you, when you are told to.
    #[arg(long, env = "XKS_PREFLIGHT_ROTATE")]
    rotate: bool,
    /// For how long both credentials are watched after the update of a rotation: 300 or more, because KMS may use the
    /// former one for five minutes. By default as the daemon's configuration says.
    #[arg(long, env = "XKS_PREFLIGHT_PROPAGATION_SECONDS", value_name = "SECONDS", requires = "rotate")]
    propagation_seconds: Option<u32>,
    /// Pass by approval, freeze and maintenance windows, never by a pre-flight. Takes the role admin and a --reason, and is
    /// loud: in the logs, the audit trail and the metrics.
    #[arg(long, env = "XKS_PREFLIGHT_BREAK_GLASS", requires = "reason")]
    break_glass: bool,
    /// Why the glass is broken, in one line. It becomes part of the plan and its digest.
    #[arg(long, env = "XKS_PREFLIGHT_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Connectivity {
    /// Over the internet: PUBLIC_ENDPOINT.
    Public,
    /// Through AWS PrivateLink: VPC_ENDPOINT_SERVICE.
    Vpc,
}

/// The variable that holds a new KeyStorePassword; never an option, because arguments are seen by everybody.
const PASSWORD_VARIABLE: &str = "XKS_PREFLIGHT_KEY_STORE_PASSWORD";

/// The KeyStorePassword to change to, if one is given. Whether KMS accepts it is the daemon's matter.
fn password(options: &ChangeOptions, server: &Server) -> Result<Option<Zeroizing<String>>, Usage> {
    let password = match &options.key_store_password_file {
        Some(file) => Some(source::secret(file, "--key-store-password-file").map_err(Usage)?),
        None => match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => Some(Zeroizing::new(password)),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => return Err(Usage(format!("{PASSWORD_VARIABLE}: is not text"))),
        },
    };
    if password.is_some() {
        server.admits_secrets("the password of kmsuser")?;
    }
    Ok(password)
}

/// The options of a change that come from the environment instead of the `arguments`. A variable that was set for
/// another command must not widen a change unseen.
pub(super) fn from_environment(arguments: &[OsString], is_set: impl Fn(&OsStr) -> bool) -> Vec<String> {
    let command = ChangeOptions::augment_args(clap::Command::new("change"));
    let given = |option: &str| {
        arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
            argument.strip_prefix("--").is_some_and(|rest| rest.split('=').next().is_some_and(|name| name == option))
        })
    };
    command
        .get_arguments()
        .filter_map(|argument| Some((argument.get_long()?, argument.get_env()?)))
        .filter(|(option, variable)| is_set(variable) && !given(option))
        .map(|(option, variable)| format!("--{option} comes from {}", variable.to_string_lossy()))
        .collect()
}

/// The body of `POST /v1/updates`. The daemon judges the values: it knows the key store.
pub(super) fn body(options: &ChangeOptions, dry_run: bool, server: &Server) -> Result<Vec<u8>, Usage> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let mut path = options.path.clone();
    let mut credential = options.credential_source.as_ref().map(|name| json!({ "Source": name }));
    if let Some(file) = &options.proxy_config {
        server.admits_secrets("the proxy's credential")?;
        let console = source::console_file(file, "--proxy-config").map_err(Usage)?;
        path = path.or_else(|| Some(console.path.to_string()));
        credential = Some(json!({
            "AccessKeyId": console.credential.access_key_id.as_str(),
            "RawSecretAccessKey": console.credential.secret_access_key.expose(),
        }));
    }
    let connectivity = options.connectivity.map(|connectivity| match connectivity {
        Connectivity::Public => ConnectivityKind::PublicEndpoint,
        Connectivity::Vpc => ConnectivityKind::VpcEndpointService,
    });
    set("NewCustomKeyStoreName", options.new_name.as_ref().map(|name| json!(name)));
    set("XksProxyUriEndpoint", options.endpoint.as_ref().map(|endpoint| json!(endpoint)));
    set("XksProxyUriPath", path.map(|path| json!(path)));
    set("XksProxyConnectivity", connectivity.map(|kind| json!(kind)));
    set("XksProxyVpcEndpointServiceName", options.vpc_endpoint_service.as_ref().map(|name| json!(name)));
    set("XksProxyVpcEndpointServiceOwner", options.vpc_endpoint_service_owner.as_ref().map(|owner| json!(owner)));
    set("XksProxyAuthenticationCredential", credential);
    set("CloudHsmClusterId", options.cloud_hsm_cluster_id.as_ref().map(|cluster| json!(cluster)));
    set("KeyStorePassword", password(options, server)?.map(|password| json!(password.as_str())));
    if members.is_empty() {
        let detail = "nothing to change: give at least one of --endpoint, --path, --connectivity, \
                      --vpc-endpoint-service, --vpc-endpoint-service-owner, --credential-source, --proxy-config, \
                      --cloud-hsm-cluster-id, --key-store-password-file, --new-name";
        return Err(Usage(detail.to_owned()));
    }
    members.insert("CustomKeyStoreId".to_owned(), json!(options.key_store));
    let (connect, acknowledge_outage) = (options.connect, options.acknowledge_outage);
    let mut choices = json!({ "dry_run": dry_run, "acknowledge_outage": acknowledge_outage, "connect": connect });
    // A daemon that knows no rotation yet is asked for none as it was before.
    if options.rotate {
        choices["rotate"] = json!(true);
    }
    if let Some(seconds) = options.propagation_seconds {
        choices["propagation_seconds"] = json!(seconds);
    }
    match &options.reason {
        Some(reason) if options.break_glass => choices["break_glass"] = json!({ "reason": reason }),
        // Not that somebody adds the one because the other was there.
        Some(_) => {
            let fault = "--reason (or XKS_PREFLIGHT_REASON) is that of a broken glass, and no glass is to be broken: leave \
                         it out";
            return Err(Usage(fault.to_owned()));
        }
        None => {}
    }
    members.insert("options".to_owned(), choices);
    Ok(Value::Object(members).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const SECRET: &str = "TestSecretDoNotLeakAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        change: ChangeOptions,
    }

    fn made(arguments: &[&str], url: &str) -> Result<Value, String> {
        let line = Line::try_parse_from(["x", "--key-store", "cks-1"].iter().chain(arguments)).unwrap();
        let server = Server::parse(url, None).unwrap();
        let bytes = body(&line.change, true, &server).map_err(|usage| usage.to_string())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn options_from_the_environment_are_told() {
        let arguments = ["update", "plan", "--key-store", "cks-1", "--path=/a/kms/xks/v1"].map(OsString::from);
        let told = |set: &[&str]| from_environment(&arguments, |variable| set.iter().any(|name| variable == *name));
        assert_eq!(told(&[]), Vec::<String>::new());
        assert_eq!(
            told(&["XKS_PREFLIGHT_ENDPOINT", "XKS_PREFLIGHT_KEY_STORE", "XKS_PREFLIGHT_PATH"]),
            ["--endpoint comes from XKS_PREFLIGHT_ENDPOINT"]
        );
    }

    #[test]
    fn a_rotation_is_asked_for_only_when_it_is_meant() {
        let plain = made(&["--credential-source", "next"], "http://127.0.0.1:1").unwrap();
        assert_eq!(plain["options"], json!({ "dry_run": true, "acknowledge_outage": false, "connect": false }));
        let arguments = ["--credential-source", "next", "--rotate", "--propagation-seconds", "600"];
        let rotation = made(&arguments, "http://127.0.0.1:1").unwrap();
        assert_eq!(rotation["options"]["rotate"], true);
        assert_eq!(rotation["options"]["propagation_seconds"], 600);
        assert!(Line::try_parse_from(["x", "--key-store", "cks-1", "--propagation-seconds", "600"]).is_err());
    }

    #[test]
    fn members_have_the_names_of_kms() {
        let arguments = [
            "--endpoint",
            "https://b.example.com",
            "--connectivity",
            "vpc",
            "--vpc-endpoint-service",
            "svc",
            "--vpc-endpoint-service-owner",
            "111122223333",
            "--credential-source",
            "blue",
            "--new-name",
            "n",
            "--connect",
        ];
        let expected = json!({
            "CustomKeyStoreId": "cks-1",
            "NewCustomKeyStoreName": "n",
            "XksProxyUriEndpoint": "https://b.example.com",
            "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
            "XksProxyVpcEndpointServiceName": "svc",
            "XksProxyVpcEndpointServiceOwner": "111122223333",
            "XksProxyAuthenticationCredential": { "Source": "blue" },
            "options": { "dry_run": true, "acknowledge_outage": false, "connect": true },
        });
        assert_eq!(made(&arguments, "http://127.0.0.1"), Ok(expected));
    }

    #[test]
    fn a_console_file_gives_path_and_credential_but_never_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proxy.json");
        let console = json!({
            "XksProxyUriPath": "/a/kms/xks/v1",
            "XksProxyAuthenticationCredential": { "AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "RawSecretAccessKey": SECRET },
        });
        std::fs::write(&file, console.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let body = made(&["--proxy-config", file], "http://127.0.0.1").unwrap();
        assert_eq!(body["XksProxyUriPath"], "/a/kms/xks/v1");
        assert_eq!(body["XksProxyAuthenticationCredential"]["RawSecretAccessKey"], SECRET);
        let other = made(&["--proxy-config", file, "--path", "/b/kms/xks/v1"], "https://gate.example.com").unwrap();
        assert_eq!(other["XksProxyUriPath"], "/b/kms/xks/v1");
        let fault = made(&["--proxy-config", file], "http://gate.example.com").unwrap_err();
        assert!(fault.contains("in the clear") && !fault.contains("DoNotLeak"), "{fault}");
    }

    #[test]
    fn a_cluster_and_a_password_from_a_file_go_together_but_never_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kmsuser");
        std::fs::write(&file, "DoNotLeak1234\n").unwrap();
        let arguments =
            ["--cloud-hsm-cluster-id", "cluster-abcdefghijk", "--key-store-password-file", file.to_str().unwrap()];
        let body = made(&arguments, "http://127.0.0.1").unwrap();
        assert_eq!(
            (&body["CloudHsmClusterId"], &body["KeyStorePassword"]),
            (&json!("cluster-abcdefghijk"), &json!("DoNotLeak1234"))
        );
        let fault = made(&arguments, "http://gate.example.com").unwrap_err();
        assert!(fault.contains("in the clear") && !fault.contains("DoNotLeak"), "{fault}");
        assert!(Line::try_parse_from(["x", "--key-store", "cks-1", "--key-store-password", "DoNotLeak1234"]).is_err());
    }

    #[test]
    fn the_glass_is_broken_for_a_reason_and_a_reason_breaks_none() {
        let change = ["--path", "/b/kms/xks/v1", "--break-glass", "--reason", "the proxy burns"];
        let body = made(&change, "http://127.0.0.1").unwrap();
        assert_eq!(body["options"]["break_glass"], json!({ "reason": "the proxy burns" }));
        let body = made(&change[..2], "http://127.0.0.1").unwrap();
        assert!(body["options"].get("break_glass").is_none(), "{body}");
        assert!(Line::try_parse_from(["x", "--key-store", "cks-1"].iter().chain(&change[..3])).is_err());
        let fault = made(&["--path", "/b/kms/xks/v1", "--reason", "x"], "http://127.0.0.1").unwrap_err();
        assert!(fault.contains("leave it out"), "{fault}");
    }

    #[test]
    fn no_change_is_no_request() {
        assert!(made(&["--connect"], "http://127.0.0.1").unwrap_err().starts_with("nothing to change"));
    }
}
