//! A thin client of the EC2 Query API: a few reads, form-encoded in and XML out, signed by aws-sigv4 and carried by the
//! HTTPS client of the AWS SDKs.

mod answer;

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
use tokio::sync::Mutex;

use self::answer::{Failure, Page};
use super::unread::Unread;
use crate::chain::Chain;
use crate::check::vpc::{EndpointService, SecurityGroup, VpcDns};
use crate::clock::Clock;
use crate::key_store::{AccountId, Region, VpcEndpointServiceName};

/// The version of the API that the answers are of.
const VERSION: &str = "2016-11-15";

/// The most of one answer that is read. A page of 1,000 services is below 2 MiB.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// One account and Region has at most 200 services; more pages than these are a fault of the answers.
const MOST_PAGES: usize = 20;

/// Attempts at one request that fails in passing, as the SDKs make them.
const ATTEMPTS: u32 = 3;

/// The pause before the second attempt; it doubles before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// Credentials are asked for again this long before they end.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// EC2's words for a service that is not there or that we may not see.
const NO_SUCH_SERVICE: [&str; 5] = [
    "InvalidServiceName",
    "InvalidVpcEndpointService.NotFound",
    "InvalidVpcEndpointServiceId.NotFound",
    "InvalidVpcEndpointServiceId.Malformed",
    "InvalidVpcEndpointServiceName.NotFound",
];

/// EC2 of one account and Region.
pub(super) struct Ec2 {
    endpoint: String,
    region: Region,
    credentials: Option<SharedCredentialsProvider>,
    known: Mutex<Option<Credentials>>,
    connector: Option<SharedHttpConnector>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// A service of our account, with what only its owner is told.
pub(super) struct OwnService {
    pub(super) id: String,
    pub(super) service: EndpointService,
    pub(super) state: Option<String>,
    pub(super) network_load_balancers: Vec<String>,
    pub(super) gateway_load_balancers: Vec<String>,
}

/// A service that is offered to our account.
pub(super) struct OfferedService {
    pub(super) owner: Option<AccountId>,
    pub(super) service: EndpointService,
}

impl Ec2 {
    /// A client with the SDK's credentials; nothing is sent yet.
    pub(super) fn new(
        config: &SdkConfig,
        endpoint_url: Option<String>,
        region: Region,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let endpoint = endpoint_url.unwrap_or_else(|| default_endpoint(&region));
        let settings = HttpConnectorSettings::builder().connect_timeout(timeout.min(Duration::from_secs(5))).build();
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region,
            credentials: config.credentials_provider(),
            known: Mutex::new(None),
            connector: default_connector(&settings, config.sleep_impl()),
            timeout,
            clock,
        }
    }

    /// The service of this name, if our account owns it.
    pub(super) async fn own_service(&self, name: &VpcEndpointServiceName) -> Result<Option<OwnService>, Unread> {
        let action = "ec2:DescribeVpcEndpointServiceConfigurations";
        let filter = [("Filter.1.Name", "service-name"), ("Filter.1.Value.1", name.as_str())];
        let found = self.pages::<answer::Configurations>(action, &filter).await?;
        Ok(found.into_iter().find(|service| service.has_name(name)).map(OwnService::from))
    }

    /// The service of this name as a consumer sees it, if it is offered to our account.
    pub(super) async fn offered_service(
        &self,
        name: &VpcEndpointServiceName,
    ) -> Result<Option<OfferedService>, Unread> {
        let action = "ec2:DescribeVpcEndpointServices";
        match self.pages::<answer::Offers>(action, &[("ServiceName.1", name.as_str())]).await {
            Ok(found) => Ok(found.into_iter().find(|service| service.has_name(name)).map(OfferedService::from)),
            Err(Unread::Refused { code, .. }) if NO_SUCH_SERVICE.contains(&code.as_str()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who may make endpoints to one of our services.
    pub(super) async fn principals(&self, service_id: &str) -> Result<Vec<String>, Unread> {
        let action = "ec2:DescribeVpcEndpointServicePermissions";
        let allowed = self.pages::<answer::Permissions>(action, &[("ServiceId", service_id)]).await?;
        Ok(allowed.into_iter().filter_map(answer::Permission::endpoint_principal).collect())
    }

    /// These security groups with their inbound rules.
    pub(super) async fn security_groups(&self, ids: &[String]) -> Result<Vec<SecurityGroup>, Unread> {
        let names: Vec<String> = (1..=ids.len()).map(|number| format!("GroupId.{number}")).collect();
        let parameters: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        let groups = self.pages::<answer::SecurityGroups>("ec2:DescribeSecurityGroups", &parameters).await?;
        Ok(groups.into_iter().map(SecurityGroup::from).collect())
    }

    /// The DNS attributes of a VPC.
    pub(super) async fn vpc_dns(&self, vpc: &str) -> Result<VpcDns, Unread> {
        let attribute = async |name: &str| {
            let action = "ec2:DescribeVpcAttribute";
            let text = self.ask(action, &[("VpcId", vpc), ("Attribute", name)]).await?;
            let found: answer::VpcAttribute = parse(action, &text)?;
            found.value().ok_or_else(|| Unread::NotUnderstood { action, why: format!("it has no {name}") })
        };
        let (support, hostnames) = tokio::try_join!(attribute("enableDnsSupport"), attribute("enableDnsHostnames"))?;
        Ok(VpcDns { vpc: vpc.to_owned(), support, hostnames })
    }

    /// Every item of every page.
    async fn pages<P: Page>(&self, action: &'static str, parameters: &[(&str, &str)]) -> Result<Vec<P::Item>, Unread> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut asked = parameters.to_vec();
            if let Some(token) = &token {
                asked.push(("NextToken", token));
            }
            let text = self.ask(action, &asked).await?;
            let (found, next) = parse::<P>(action, &text)?.take();
            items.extend(found);
            match next.filter(|next| !next.is_empty()) {
                Some(next) => token = Some(next),
                None => return Ok(items),
            }
        }
        Err(Unread::NotUnderstood { action, why: format!("it does not end within {MOST_PAGES} pages") })
    }

    /// One request, tried again when it fails in passing.
    async fn ask(&self, action: &'static str, parameters: &[(&str, &str)]) -> Result<String, Unread> {
        let operation = action.trim_start_matches("ec2:");
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", operation)
            .append_pair("Version", VERSION)
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
            .region(self.region.as_str())
            .name("ec2")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let uri = format!("{}/", self.endpoint);
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

fn parse<T: serde::de::DeserializeOwned>(action: &'static str, text: &str) -> Result<T, Unread> {
    quick_xml::de::from_str(text).map_err(|error| Unread::NotUnderstood { action, why: error.to_string() })
}

/// The Region's own endpoint; the European Sovereign Cloud is a partition with a domain of its own.
fn default_endpoint(region: &Region) -> String {
    let domain = if region.as_str().starts_with("eusc-") { "amazonaws.eu" } else { "amazonaws.com" };
    format!("https://ec2.{region}.{domain}")
}
