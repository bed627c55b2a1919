//! The SDK's words into ours, and back; total both ways.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::types::{
    ConnectionErrorCodeType, ConnectionStateType, CustomKeyStoreType, CustomKeyStoresListEntry,
    XksProxyAuthenticationCredentialType, XksProxyConfigurationType, XksProxyConnectivityType,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use serde_json::{Map, Value};

use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::key_store::{
    AccessKeyId, AccountId, CertificateIdentity, CloudHsmClusterId, CloudHsmConfiguration, Configuration,
    ConnectionErrorCode, ConnectionState, Connectivity, ConnectivityKind, CustomKeyStoreId, CustomKeyStoreName,
    Invalid, KeyStore, KmsException, ProxyCredential, VpcEndpointServiceName, XksConfiguration, XksProxyUriEndpoint,
    XksProxyUriPath,
};
use crate::kms::KmsError;

/// More of KMS's message than this is cut off.
const LONGEST_MESSAGE: usize = 2_000;

/// A key store as KMS describes it. Settings that cannot be understood become [`Configuration::Unrecognized`]; only an
/// entry that does not even say which store it is about is an error.
pub(super) fn key_store(entry: &CustomKeyStoresListEntry) -> Result<KeyStore, String> {
    let told = |invalid: Invalid| invalid.to_string();
    let id = entry.custom_key_store_id().ok_or("a key store without CustomKeyStoreId")?;
    let name = entry.custom_key_store_name().ok_or("a key store without CustomKeyStoreName")?;
    Ok(KeyStore {
        id: CustomKeyStoreId::parse(id).map_err(told)?,
        name: CustomKeyStoreName::parse(name).map_err(told)?,
        created: entry.creation_date().map(|at| Timestamp::from_unix(at.secs())),
        state: state(entry),
        configuration: configuration(entry).unwrap_or_else(|why| Configuration::Unrecognized { why }),
    })
}

/// The entry as KMS writes it.
pub(super) fn list_entry(entry: &CustomKeyStoresListEntry) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.and_then(|value| members.insert(name.to_owned(), value));
    let text = |value: Option<&str>| value.map(Value::from);
    put("CustomKeyStoreId", text(entry.custom_key_store_id()));
    put("CustomKeyStoreName", text(entry.custom_key_store_name()));
    put("CustomKeyStoreType", text(entry.custom_key_store_type().map(CustomKeyStoreType::as_str)));
    put("CloudHsmClusterId", text(entry.cloud_hsm_cluster_id()));
    put("TrustAnchorCertificate", text(entry.trust_anchor_certificate()));
    put("ConnectionState", text(entry.connection_state().map(ConnectionStateType::as_str)));
    put("ConnectionErrorCode", text(entry.connection_error_code().map(ConnectionErrorCodeType::as_str)));
    // Seconds since 1970 with a fraction, as AWS JSON 1.1 writes instants.
    put("CreationDate", entry.creation_date().map(|at| Value::from(at.as_secs_f64())));
    put(
        "XksProxyConfiguration",
        entry.xks_proxy_configuration().map(|settings| {
            let members = [
                ("Connectivity", settings.connectivity().map(XksProxyConnectivityType::as_str)),
                ("AccessKeyId", settings.access_key_id()),
                ("UriEndpoint", settings.uri_endpoint()),
                ("UriPath", settings.uri_path()),
                ("VpcEndpointServiceName", settings.vpc_endpoint_service_name()),
                ("VpcEndpointServiceOwner", settings.vpc_endpoint_service_owner()),
            ];
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
        }),
    );
    Value::Object(members)
}

fn state(entry: &CustomKeyStoresListEntry) -> ConnectionState {
    match entry.connection_state() {
        Some(ConnectionStateType::Connected) => ConnectionState::Connected,
        Some(ConnectionStateType::Connecting) => ConnectionState::Connecting,
        Some(ConnectionStateType::Disconnected) => ConnectionState::Disconnected,
        Some(ConnectionStateType::Disconnecting) => ConnectionState::Disconnecting,
        Some(ConnectionStateType::Failed) => {
            let code = entry.connection_error_code().map_or("(no ConnectionErrorCode)", |code| code.as_str());
            ConnectionState::Failed(ConnectionErrorCode::from_wire(code))
        }
        Some(other) => ConnectionState::Unrecognized(other.as_str().to_owned()),
        None => ConnectionState::Unrecognized("(no ConnectionState)".to_owned()),
    }
}

fn configuration(entry: &CustomKeyStoresListEntry) -> Result<Configuration, String> {
    // Matched by text: the SDK's enum grows, and its new variants must not fall into an arm of ours.
    match entry.custom_key_store_type().map(CustomKeyStoreType::as_str) {
        Some("EXTERNAL_KEY_STORE") => {
            let settings = entry.xks_proxy_configuration().ok_or("no XksProxyConfiguration")?;
            Ok(Configuration::Xks(xks(settings)?))
        }
        // Stores from before the type existed show none; they are CloudHSM stores.
        Some("AWS_CLOUDHSM") | None => {
            let cluster = entry.cloud_hsm_cluster_id().ok_or("no CloudHsmClusterId")?;
            let cluster = CloudHsmClusterId::parse(cluster).map_err(|invalid| invalid.to_string())?;
            let trust_anchor = entry.trust_anchor_certificate().and_then(CertificateIdentity::parse);
            Ok(Configuration::CloudHsm(CloudHsmConfiguration { cluster, trust_anchor }))
        }
        Some(other) => Err(format!("CustomKeyStoreType {other} is not known to this version")),
    }
}

fn xks(settings: &XksProxyConfigurationType) -> Result<XksConfiguration, String> {
    let told = |invalid: Invalid| invalid.to_string();
    let connectivity = match settings.connectivity() {
        Some(XksProxyConnectivityType::PublicEndpoint) => Connectivity::PublicEndpoint,
        Some(XksProxyConnectivityType::VpcEndpointService) => Connectivity::VpcEndpointService {
            name: VpcEndpointServiceName::parse(settings.vpc_endpoint_service_name().unwrap_or_default())
                .map_err(told)?,
            owner: settings.vpc_endpoint_service_owner().map(AccountId::parse).transpose().map_err(told)?,
        },
        Some(other) => return Err(format!("Connectivity {} is not known to this version", other.as_str())),
        None => return Err("no Connectivity".to_owned()),
    };
    Ok(XksConfiguration {
        endpoint: XksProxyUriEndpoint::parse(settings.uri_endpoint().unwrap_or_default()).map_err(told)?,
        path: XksProxyUriPath::parse(settings.uri_path().unwrap_or_default()).map_err(told)?,
        access_key_id: AccessKeyId::parse(settings.access_key_id().unwrap_or_default()).map_err(told)?,
        connectivity,
    })
}

/// `XksProxyConnectivity`.
pub(super) fn connectivity(kind: ConnectivityKind) -> XksProxyConnectivityType {
    match kind {
        ConnectivityKind::PublicEndpoint => XksProxyConnectivityType::PublicEndpoint,
        ConnectivityKind::VpcEndpointService => XksProxyConnectivityType::VpcEndpointService,
    }
}

/// Both halves, for the one request that tells KMS.
pub(super) fn proxy_credential(credential: &ProxyCredential) -> Result<XksProxyAuthenticationCredentialType, String> {
    XksProxyAuthenticationCredentialType::builder()
        .access_key_id(credential.access_key_id.as_str())
        .raw_secret_access_key(credential.secret_access_key.expose())
        .build()
        .map_err(|_| "XksProxyAuthenticationCredential is incomplete".to_owned())
}

/// What went wrong, and above all: whether KMS may have done it.
pub(super) fn error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> KmsError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let why = || cut(Chain(error).to_string());
    let status = error.raw_response().map(|response| response.status().as_u16());
    match error {
        SdkError::ConstructionFailure(_) => KmsError::NotSent { operation, why: why() },
        SdkError::DispatchFailure(_) if was_not_sent(error) => KmsError::NotSent { operation, why: why() },
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or_default();
            let message = cut(answer.err().message().unwrap_or("no message").to_owned());
            refusal(operation, code, message, error.request_id().map(ToOwned::to_owned), status)
        }
        SdkError::ResponseError(_) if status.is_some_and(|status| status >= 500) => {
            KmsError::Unavailable { operation, message: why() }
        }
        // Everything else (time-outs, lost or broken answers, and what the SDK may add) may have reached KMS.
        _ => KmsError::Ambiguous { operation, why: why() },
    }
}

fn refusal(
    operation: &'static str,
    code: &str,
    message: String,
    request_id: Option<String>,
    status: Option<u16>,
) -> KmsError {
    match (code, KmsException::from_wire(code)) {
        ("ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded", _) => {
            KmsError::Throttled { operation, message }
        }
        (
            "AccessDeniedException"
            | "AccessDenied"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized"
            | "OptInRequired",
            _,
        ) => KmsError::AccessDenied { operation, message: format!("{code}: {message}") },
        (_, Some(KmsException::KmsInternal)) => KmsError::Unavailable { operation, message },
        (_, Some(exception)) => KmsError::Refused { operation, exception, message, request_id },
        // A load balancer's 5xx page has no exception in it.
        (_, None) if status.is_some_and(|status| status >= 500) => KmsError::Unavailable { operation, message },
        (_, None) => KmsError::Unrecognized { operation, code: code.to_owned(), message, request_id },
    }
}

/// Whether a request certainly never left: no connection could be made, or there were no credentials to sign it with.
fn was_not_sent(error: &(dyn Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        if error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
            || error.is::<CredentialsError>()
        {
            return true;
        }
        link = error.source();
    }
    false
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST_MESSAGE) {
        text.truncate(at);
        text.push_str(" (cut)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> XksProxyConfigurationType {
        XksProxyConfigurationType::builder()
            .connectivity(XksProxyConnectivityType::PublicEndpoint)
            .uri_endpoint("https://xks.example.com")
            .uri_path("/kms/xks/v1")
            .access_key_id("AKIAI2SFODNN7EXAMPLE")
            .build()
    }

    fn entry() -> aws_sdk_kms::types::builders::CustomKeyStoresListEntryBuilder {
        CustomKeyStoresListEntry::builder()
            .custom_key_store_id("cks-1234567890abcdef0")
            .custom_key_store_name("store")
            .custom_key_store_type(CustomKeyStoreType::ExternalKeyStore)
            .connection_state(ConnectionStateType::Connected)
            .xks_proxy_configuration(proxy())
    }

    #[test]
    fn stores_of_both_types_are_understood() {
        let store = key_store(&entry().build()).unwrap();
        assert_eq!(store.state, ConnectionState::Connected);
        assert_eq!(store.xks().unwrap().connectivity, Connectivity::PublicEndpoint);

        let hsm = entry()
            .custom_key_store_type(CustomKeyStoreType::AwsCloudhsm)
            .cloud_hsm_cluster_id("cluster-abcdefghijk")
            .connection_state(ConnectionStateType::Failed)
            .connection_error_code(aws_sdk_kms::types::ConnectionErrorCodeType::UserLockedOut);
        let store = key_store(&hsm.build()).unwrap();
        assert!(matches!(store.configuration, Configuration::CloudHsm(_)));
        assert_eq!(store.state, ConnectionState::Failed(ConnectionErrorCode::UserLockedOut));
    }

    #[test]
    fn what_is_new_to_us_is_kept_apart() {
        let new = entry().connection_state("HIBERNATING".into()).build();
        assert_eq!(key_store(&new).unwrap().state, ConnectionState::Unrecognized("HIBERNATING".into()));
        let unrecognized = |entry: CustomKeyStoresListEntry| {
            matches!(key_store(&entry).unwrap().configuration, Configuration::Unrecognized { .. })
        };
        assert!(unrecognized(entry().custom_key_store_type("QUANTUM".into()).build()));
        assert!(unrecognized(entry().set_xks_proxy_configuration(None).build()));
        let mut odd = proxy();
        odd.connectivity = Some("CARRIER_PIGEON".into());
        assert!(unrecognized(entry().xks_proxy_configuration(odd).build()));
        let mut odd = proxy();
        odd.uri_path = Some("/no/path".into());
        assert!(unrecognized(entry().xks_proxy_configuration(odd).build()));
        assert!(key_store(&entry().set_custom_key_store_id(None).build()).is_err());
    }

    #[test]
    fn every_exception_has_its_kind() {
        let of = |code: &str, status| refusal("X", code, "m".into(), None, Some(status));
        for exception in KmsException::ALL {
            let error = of(exception.as_str(), 400);
            assert_eq!(error.exception(), Some(*exception), "{error}");
        }
        assert!(matches!(of("KMSInternalException", 500), KmsError::Unavailable { .. }));
        assert!(matches!(of("", 503), KmsError::Unavailable { .. }));
        assert!(matches!(of("BrandNewException", 400), KmsError::Unrecognized { .. }));
        assert!(matches!(of("ExpiredTokenException", 400), KmsError::AccessDenied { .. }));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert!(cut("é".repeat(5_000)).chars().count() <= LONGEST_MESSAGE + 6);
        assert_eq!(cut("short".into()), "short");
    }
}
