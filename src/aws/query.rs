//! AWS's Query protocol: form-encoded requests in, XML out, signed by aws-sigv4 and carried by the HTTPS client of the AWS
//! SDKs. For services of which we need a read or two, and whose SDK takes minutes to compile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::unread::Unread;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::key_store::Region;

/// The most of one answer that is read. A page of 1,000 VPC endpoint services is below 2 MiB.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Attempts at one request that fails in passing, as the SDKs make them.
const ATTEMPTS: u32 = 3;

/// The pause before the second attempt; it doubles before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// Credentials are asked for again this long before they end.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// A service that speaks the Query protocol.
pub(super) struct QueryService {
    /// Its name in the credential scope.
    pub(super) name: &'static str,
    /// The version of its API.
    pub(super) version: &'static str,
    /// Where it is.
    pub(super) endpoint: String,
    /// The Region in the credential scope.
    pub(super) region: Region,
}

/// Asks one service.
pub(super) struct QueryClient {
    service: QueryService,
    credentials: Option<SharedCredentialsProvider>,
    known: Mutex<Option<Credentials>>,
    connector: Option<SharedHttpConnector>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl QueryClient {
    /// A client with the SDK's credentials; nothing is sent yet.
    pub(super) fn new(config: &SdkConfig, service: QueryService, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(timeout.min(Duration::from_secs(5))).build();
        let endpoint = service.endpoint.trim_end_matches('/').to_owned();
        Self {
            service: QueryService { endpoint, ..service },
            credentials: config.credentials_provider(),
            known: Mutex::new(None),
            connector: default_connector(&settings, config.sleep_impl()),
            timeout,
            clock,
        }
    }

    /// One request, tried again when it fails in passing. `action` is the IAM action, `service:Operation`.
    pub(super) async fn ask(&self, action: &'static str, parameters: &[(&str, &str)]) -> Result<String, Unread> {
        let operation = action.split_once(':').map_or(action, |(_, operation)| operation);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", operation)
            .append_pair("Version", self.service.version)
            .extend_pairs(parameters)
            .finish();
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(action, &body).await {
                Err((_, Passing::Yes)) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                ended => return ended.map_err(|(error, _)| error),
            }
        }
        self.attempt(action, &body).await.map_err(|(error, _)| error)
    }

    async fn attempt(&self, action: &'static str, body: &str) -> Result<String, (Unread, Passing)> {
        let unanswered = |why: String| (Unread::Unanswered { action, why }, Passing::Yes);
        let request = self.signed(action, body).await.map_err(|error| (error, Passing::No))?;
        let Some(connector) = &self.connector else {
            let why = "this build has no HTTPS client".to_owned();
            return Err((Unread::Unanswered { action, why }, Passing::No));
        };
        let exchange = async {
            let response = connector.call(request).await.map_err(|error| Chain(&error).to_string())?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            let body: Bytes = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
            Ok::<_, String>((status, body))
        };
        let (status, body) = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| unanswered(format!("not within {} s", self.timeout.as_secs())))?
            .map_err(unanswered)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let passing = |code: &str| {
            let throttled = code.contains("Throttl") || code == "RequestLimitExceeded";
            if throttled || status >= 500 { Passing::Yes } else { Passing::No }
        };
        match Failure::parse(&text) {
            Some(Failure { code, message }) => Err((Unread::of_code(action, &code, &message), passing(&code))),
            None => Err((Unread::Unanswered { action, why: format!("HTTP status {status}") }, passing(""))),
        }
    }

    async fn signed(&self, action: &'static str, body: &str) -> Result<HttpRequest, Unread> {
        let broken = |why: String| Unread::Unanswered { action, why: format!("the request cannot be made: {why}") };
        let now = SystemTime::from(self.clock.now());
        let identity = self.credentials(action, now).await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.service.region.as_str())
            .name(self.service.name)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let uri = format!("{}/", self.service.endpoint);
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        let signable = SignableRequest::new(
            "POST",
            uri.as_str(),
            std::iter::once(("content-type", content_type)),
            SignableBody::Bytes(body.as_bytes()),
        );
        let signable = signable.map_err(|error| broken(error.to_string()))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| broken(error.to_string()))?.into_parts();
        let mut request = http::Request::post(uri)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(SdkBody::from(body))
            .map_err(|error| broken(error.to_string()))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| broken(error.to_string()))
    }

    /// The credentials, asked for anew only when they end: a chain may assume a role for each.
    async fn credentials(&self, action: &'static str, now: SystemTime) -> Result<Credentials, Unread> {
        let mut known = self.known.lock().await;
        let fresh = |held: &&Credentials| held.expiry().is_none_or(|end| end > now + EXPIRY_MARGIN);
        if let Some(held) = known.as_ref().filter(fresh) {
            return Ok(held.clone());
        }
        let denied = |message: String| Unread::Denied { action, message: format!("no AWS credentials: {message}") };
        let provider = self.credentials.as_ref().ok_or_else(|| denied("none are configured".to_owned()))?;
        let given = provider.provide_credentials().await.map_err(|error| denied(Chain(&error).to_string()))?;
        Ok(known.insert(given).clone())
    }
}

/// Whether the same request may be answered if it is made again.
#[derive(Clone, Copy)]
enum Passing {
    Yes,
    No,
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(action: &'static str, text: &str) -> Result<T, Unread> {
    quick_xml::de::from_str(text).map_err(|error| Unread::NotUnderstood { action, why: error.to_string() })
}

/// What a service says when it does not do what it was asked.
struct Failure {
    code: String,
    message: String,
}

impl Failure {
    /// Reads EC2's `<Response><Errors><Error>…` and everybody else's `<ErrorResponse><Error>…`; `None` for anything
    /// else, such as a load balancer's page.
    fn parse(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Response {
            errors: Option<Errors>,
            error: Option<Entry>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Errors {
            error: Vec<Entry>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            code: String,
            message: Option<String>,
        }
        let response: Response = quick_xml::de::from_str(text).ok()?;
        let first = response.error.or(response.errors.and_then(|errors| errors.error.into_iter().next()))?;
        Some(Self { code: first.code, message: first.message.unwrap_or_default() })
    }
}
