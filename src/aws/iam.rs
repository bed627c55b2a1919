//! One read of IAM: what an identity may do, by simulation of its policies.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::identity::AwsIdentity;
use super::kms::sdk_config;
use super::query::{QueryClient, QueryService, parse};
use super::unread::Unread;
use crate::check::{Permissions, Problem, SIMULATED_ACTIONS};
use crate::clock::Clock;
use crate::key_store::Region;
use crate::kms::PermissionReader;

const ACTION: &str = "iam:SimulatePrincipalPolicy";

/// The version of the API that the answers are of.
const VERSION: &str = "2010-05-08";

/// How to ask IAM.
#[derive(Clone, Debug)]
pub struct AwsIamSettings {
    /// The Region of the key stores; IAM itself has one endpoint for each partition.
    pub region: Region,
    /// Another endpoint of IAM than the partition's own.
    pub endpoint_url: Option<String>,
    /// ARN of the IAM user or role that the calls of KMS are made as.
    pub of: String,
    /// Who asks; without it the SDK's default chain finds credentials.
    pub credentials: Option<AwsIdentity>,
    /// How long one request may take; 10 seconds are plenty.
    pub timeout: Duration,
    /// Dates signatures.
    pub clock: Arc<dyn Clock>,
}

/// IAM, asked about one identity.
pub struct AwsIam {
    client: QueryClient,
    of: String,
}

impl fmt::Debug for AwsIam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsIam").field("of", &self.of).finish_non_exhaustive()
    }
}

impl AwsIam {
    /// A client; nothing is sent yet.
    pub async fn new(settings: AwsIamSettings) -> Self {
        let AwsIamSettings { region, endpoint_url, of, credentials, timeout, clock } = settings;
        let config = sdk_config(&region, None, credentials, timeout).await;
        let (own_endpoint, signed_for) = partition(&region);
        let endpoint = endpoint_url.unwrap_or(own_endpoint);
        // A partition's Region is well-formed; if it were not, IAM would refuse the signature and say so.
        let region = Region::parse(signed_for).unwrap_or(region);
        let service = QueryService { name: "iam", version: VERSION, endpoint, region };
        Self { client: QueryClient::new(&config, service, timeout, clock), of }
    }

    async fn simulate(&self) -> Result<Permissions, Unread> {
        let names: Vec<String> = (1..=SIMULATED_ACTIONS.len()).map(|n| format!("ActionNames.member.{n}")).collect();
        let mut parameters = vec![("PolicySourceArn", self.of.as_str())];
        parameters.extend(names.iter().map(String::as_str).zip(SIMULATED_ACTIONS));
        let text = self.client.ask(ACTION, &parameters).await?;
        let SimulateResponse { simulate_principal_policy_result: result } = parse(ACTION, &text)?;
        let decisions = result.evaluation_results.member.into_iter();
        let decisions = decisions.map(|each| (each.eval_action_name, each.eval_decision)).collect();
        Ok(Permissions { of: self.of.clone(), decisions })
    }
}

#[async_trait]
impl PermissionReader for AwsIam {
    async fn permissions(&self) -> Result<Permissions, Problem> {
        self.simulate().await.map_err(|unread| unread.problem())
    }
}

/// The endpoint of a partition's IAM and the Region that its requests are signed for (AWS General Reference, IAM
/// endpoints).
fn partition(region: &Region) -> (String, &'static str) {
    let (endpoint, signed_for) = match region.as_str() {
        region if region.starts_with("cn-") => ("https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        region if region.starts_with("us-gov-") => ("https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
        region if region.starts_with("eusc-") => ("https://iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        _ => ("https://iam.amazonaws.com", "us-east-1"),
    };
    (endpoint.to_owned(), signed_for)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SimulateResponse {
    simulate_principal_policy_result: SimulateResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SimulateResult {
    #[serde(default)]
    evaluation_results: Evaluations,
}

#[derive(Deserialize, Default)]
struct Evaluations {
    #[serde(default)]
    member: Vec<Evaluation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Evaluation {
    eval_action_name: String,
    eval_decision: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_iam() {
        for (region, endpoint, signed_for) in [
            ("eu-central-1", "https://iam.amazonaws.com", "us-east-1"),
            ("cn-northwest-1", "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("us-gov-east-1", "https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
        ] {
            assert_eq!(partition(&Region::parse(region).unwrap()), (endpoint.to_owned(), signed_for));
        }
    }
}
