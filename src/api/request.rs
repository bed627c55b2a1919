//! What callers ask for, in KMS's own member names.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::body::Members;
use super::problem::{Fault, Problem};
use crate::check::LoadOperation;
use crate::driver::{Extra, GivenCredential};
use crate::key_store::{
    AccessKeyId, AccountId, Change, CloudHsmClusterId, ConnectivityKind, CustomKeyStoreId, CustomKeyStoreName,
    KeyStorePassword, Member, ProxyCredential, RawSecretAccessKey, Region, VpcEndpointServiceName, XksProxyUriEndpoint,
    XksProxyUriPath,
};
use crate::preflight::{Load, OfferedCredential};
use crate::update::{Options, Rotate};

const STORE: &str = "CustomKeyStoreId";
const FORMER_PASSWORD: &str = "former_password";
const CREDENTIAL: &str = "XksProxyAuthenticationCredential";

/// A change of a key store, as asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key_store: CustomKeyStoreId,
    pub(super) change: Change,
    pub(super) credential: Option<GivenCredential>,
    pub(super) password: Option<KeyStorePassword>,
    pub(super) former_credential: Option<ProxyCredential>,
    pub(super) former_password: Option<KeyStorePassword>,
    pub(super) options: Options,
    pub(super) dry_run: bool,
    /// Tells whether a later request is the same one.
    pub(super) digest: String,
}

/// A pre-flight, as asked for.
#[derive(Debug)]
pub(super) enum AskedPreflight {
    /// Of a key store, with or without changes.
    KeyStore(Box<Asked>),
    /// Of settings that belong to no key store yet.
    Free(Box<Free>),
}

/// Free-standing settings.
#[derive(Debug)]
pub(super) struct Free {
    pub(super) endpoint: String,
    pub(super) path: String,
    pub(super) connectivity: ConnectivityKind,
    pub(super) vpc_endpoint_service: Option<String>,
    pub(super) vpc_endpoint_service_owner: Option<AccountId>,
    pub(super) region: Option<Region>,
    pub(super) credential: FreeCredential,
}

/// A credential for free-standing settings.
#[derive(Debug)]
pub(super) enum FreeCredential {
    Inline(OfferedCredential),
    Configured(String),
}

/// Reads a change. `key_store` comes from the query when a console file is posted as it is.
pub(super) fn change(map: Map<String, Value>, key_store: Option<CustomKeyStoreId>) -> Result<Asked, Problem> {
    let digest = request_digest(&map, key_store.as_ref());
    let mut faults = Vec::new();
    let mut body = Members::new(map, &mut faults);
    let named = match &key_store {
        None => body.required(STORE, CustomKeyStoreId::parse),
        Some(_) => body.text(STORE, CustomKeyStoreId::parse),
    };
    if let (Some(named), Some(queried)) = (&named, &key_store)
        && named != queried
    {
        body.fault(STORE, "differs from the one in the query");
    }
    let change = Change {
        name: body.text(Member::Name.as_str(), CustomKeyStoreName::parse),
        endpoint: body.text(Member::Endpoint.as_str(), XksProxyUriEndpoint::parse),
        path: body.text(Member::Path.as_str(), XksProxyUriPath::parse),
        connectivity: body.text(Member::Connectivity.as_str(), ConnectivityKind::parse),
        service_name: body.text(Member::ServiceName.as_str(), VpcEndpointServiceName::parse),
        service_owner: body.text(Member::ServiceOwner.as_str(), AccountId::parse),
        cluster: body.text(Member::Cluster.as_str(), CloudHsmClusterId::parse),
        credential: None,
        password: false,
    };
    let credential = body.object(CREDENTIAL, given_credential).flatten();
    let password = body.text(Member::Password.as_str(), KeyStorePassword::parse);
    let top_dry_run = body.flag("dry_run");
    let options = body.object("options", |options| {
        let former = options.object("former_credential", inline_credential).flatten();
        let former_password = options.text(FORMER_PASSWORD, KeyStorePassword::parse);
        let glass = options.object("break_glass", |glass| glass.required("reason", reason)).flatten();
        let choices = Options {
            connect: options.flag("connect"),
            acknowledge_outage: options.flag("acknowledge_outage"),
            break_glass: glass,
            rotate: rotate(options),
            ..Options::default()
        };
        (options.flag("dry_run"), choices, former, former_password)
    });
    let (dry_run, options, former_credential, former_password) = options.unwrap_or_default();
    body.finish();
    match named.or(key_store) {
        Some(key_store) if faults.is_empty() => Ok(Asked {
            key_store,
            change,
            credential,
            password,
            former_credential,
            former_password,
            options,
            dry_run: dry_run || top_dry_run,
            digest,
        }),
        _ => Err(Problem::invalid(faults)),
    }
}

/// Reads what to probe: with a key store a change of it, without one free-standing settings, whose values may be such
/// as KMS refuses, because a pre-flight says so better.
pub(super) fn preflight(
    mut map: Map<String, Value>,
    key_store: Option<CustomKeyStoreId>,
) -> Result<(AskedPreflight, Extra), Problem> {
    let mut faults = Vec::new();
    let extra = extra(&mut map, &mut faults);
    if key_store.is_some() || map.contains_key(STORE) {
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        return change(map, key_store).map(|asked| (AskedPreflight::KeyStore(Box::new(asked)), extra));
    }
    let mut body = Members::new(map, &mut faults);
    let endpoint = body.required(Member::Endpoint.as_str(), short);
    let path = body.required(Member::Path.as_str(), short);
    let connectivity = body.text(Member::Connectivity.as_str(), ConnectivityKind::parse);
    let vpc_endpoint_service = body.text(Member::ServiceName.as_str(), short);
    let vpc_endpoint_service_owner = body.text(Member::ServiceOwner.as_str(), AccountId::parse);
    let region = body.text("Region", Region::parse);
    let credential = body.object(CREDENTIAL, free_credential);
    if credential.is_none() {
        body.fault(CREDENTIAL, "is missing");
    }
    // What is known of it was taken out before.
    body.object("options", |_| ());
    body.finish();
    match (endpoint, path, credential.flatten()) {
        (Some(endpoint), Some(path), Some(credential)) if faults.is_empty() => {
            let free = Free {
                endpoint,
                path,
                connectivity: connectivity.unwrap_or(ConnectivityKind::PublicEndpoint),
                vpc_endpoint_service,
                vpc_endpoint_service_owner,
                region,
                credential,
            };
            Ok((AskedPreflight::Free(Box::new(free)), extra))
        }
        _ => Err(Problem::invalid(faults)),
    }
}

/// Takes out of a body the options that updates, which read the others, do not know.
fn extra(map: &mut Map<String, Value>, faults: &mut Vec<Fault>) -> Extra {
    let Some(options) = map.get_mut("options").and_then(Value::as_object_mut) else { return Extra::default() };
    let taken: Map<String, Value> =
        ["capacity", "perspectives", "refusals"].into_iter().filter_map(|name| options.remove_entry(name)).collect();
    let mut body = Members::new(Map::from_iter([("options".to_owned(), Value::Object(taken))]), faults);
    let extra = body.object("options", |options| {
        // Without a word others are asked.
        let alone = options.has("perspectives");
        Extra { load: load(options), refusals: options.flag("refusals"), alone: !options.flag("perspectives") && alone }
    });
    extra.unwrap_or_default()
}

fn load(options: &mut Members<'_>) -> Option<Load> {
    let asked = options.object("capacity", |capacity| (capacity.number("rate"), capacity.number("seconds")));
    let (Some(rate), Some(seconds)) = asked? else { return None };
    let load = Load::new(rate, seconds, LoadOperation::GetHealthStatus);
    load.map_err(|rule| options.fault("capacity", rule)).ok()
}

/// Why somebody does something out of the ordinary, in one line.
pub(super) fn reason(text: &str) -> Result<String, &'static str> {
    let fits = !text.trim().is_empty() && text.chars().count() <= 500 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 500 characters in one line") }
}

/// Whether it is a rotation, and how long its update may propagate.
fn rotate(options: &mut Members<'_>) -> Option<Rotate> {
    let rotate = options.flag("rotate");
    let propagation_seconds = options.has("propagation_seconds").then(|| options.number("propagation_seconds"));
    if propagation_seconds.is_some() && !rotate {
        options.fault("propagation_seconds", "has a meaning only with rotate");
    }
    rotate.then(|| Rotate { propagation_seconds: propagation_seconds.flatten().map(u64::from) })
}

fn short(text: &str) -> Result<String, &'static str> {
    if text.len() <= 1024 { Ok(text.to_owned()) } else { Err("is longer than 1024 bytes") }
}

fn given_credential(members: &mut Members<'_>) -> Option<GivenCredential> {
    match members.text("Source", short) {
        Some(name) => Some(GivenCredential::Configured(name)),
        None => inline_credential(members).map(GivenCredential::Inline),
    }
}

fn inline_credential(members: &mut Members<'_>) -> Option<ProxyCredential> {
    let access_key_id = members.required("AccessKeyId", AccessKeyId::parse);
    let secret_access_key = members.required("RawSecretAccessKey", RawSecretAccessKey::parse);
    Some(ProxyCredential { access_key_id: access_key_id?, secret_access_key: secret_access_key? })
}

fn free_credential(members: &mut Members<'_>) -> Option<FreeCredential> {
    if let Some(name) = members.text("Source", short) {
        return Some(FreeCredential::Configured(name));
    }
    let access_key_id = members.required("AccessKeyId", short);
    let secret = members.required("RawSecretAccessKey", short);
    Some(FreeCredential::Inline(OfferedCredential::new(access_key_id?, secret?)))
}

/// SHA-256 over the request. A password is left out of it: it has so little entropy that its digest would tell it.
fn request_digest(map: &Map<String, Value>, key_store: Option<&CustomKeyStoreId>) -> String {
    let mut map = map.clone();
    let hide = |password: Option<&mut Value>| password.into_iter().for_each(|text| *text = Value::Bool(true));
    hide(map.get_mut(Member::Password.as_str()));
    hide(map.get_mut("options").and_then(|options| options.get_mut(FORMER_PASSWORD)));
    let whole = Zeroizing::new(json!([key_store, map]).to_string());
    let digest = digest::digest(&digest::SHA256, whole.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The `Idempotency-Key` of a request, made the caller's own.
pub(super) fn idempotency_key(caller: &str, value: &str) -> Result<String, Problem> {
    if (1..=255).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic()) {
        // As a list, so that no two callers share a key whatever their names contain.
        Ok(json!([caller, value]).to_string())
    } else {
        let detail = "must be 1 to 255 visible ASCII characters".to_owned();
        Err(Problem::invalid(vec![Fault { pointer: "Idempotency-Key".to_owned(), detail }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(new: &str, former: &str) -> Asked {
        let body = json!({
            "CustomKeyStoreId": "cks-1",
            "CloudHsmClusterId": "cluster-abcdefghijk",
            "KeyStorePassword": new,
            "options": { "former_password": former },
        });
        let Value::Object(members) = body else { panic!("an object") };
        change(members, None).unwrap_or_else(|_| panic!("a request"))
    }

    #[test]
    fn passwords_are_read_and_stay_out_of_the_digest() {
        let (one, other) = (asked("DoNotLeak1", "DoNotLeak2"), asked("DoNotLeak3", "DoNotLeak4"));
        assert_eq!(one.password.as_ref().map(KeyStorePassword::expose), Some("DoNotLeak1"));
        assert_eq!(one.former_password.as_ref().map(KeyStorePassword::expose), Some("DoNotLeak2"));
        assert_eq!(one.digest, other.digest);
        assert!(!format!("{one:?}").contains("DoNotLeak"));
    }
}
