//! AWS Secrets Manager through the AWS SDK: GetSecretValue, one stage of one secret.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use zeroize::Zeroizing;

use super::identity::AwsIdentity;
use super::kms::sdk_config;
use super::kms_translate::error;
use crate::key_store::Region;
use crate::kms::KmsError;

const OPERATION: &str = "GetSecretValue";

/// How to reach Secrets Manager.
#[derive(Clone, Debug)]
pub struct AwsSecretsManagerSettings {
    /// The Region of the secret.
    pub region: Region,
    /// Another endpoint than the Region's own, such as a VPC endpoint or a simulation.
    pub endpoint_url: Option<String>,
    /// AWS credentials; without them the SDK's default chain finds some.
    pub credentials: Option<AwsIdentity>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Secrets Manager of one account and Region.
#[derive(Clone, Debug)]
pub struct AwsSecretsManager {
    client: Client,
}

/// Why a secret was not had. Holds nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such secret here, or nothing at that stage of it.
    #[error(
        "AWS Secrets Manager knows no secret {secret_id} in this account and Region, or it has no value at stage {stage}"
    )]
    NotFound {
        /// Which.
        secret_id: String,
        /// At which stage.
        stage: String,
    },
    /// IAM, the secret's policy, or its key.
    #[error(
        "AWS denies it: the role needs secretsmanager:GetSecretValue on the secret, and kms:Decrypt on its key where that is \
         not aws/secretsmanager ({message})"
    )]
    AccessDenied {
        /// What AWS says.
        message: String,
    },
    /// AWS did not answer, or not with a secret.
    #[error("AWS Secrets Manager does not answer: {why}")]
    Unanswered {
        /// Why.
        why: String,
    },
    /// The secret has no text.
    #[error("the secret has neither SecretString nor SecretBinary")]
    Empty,
}

impl AwsSecretsManager {
    /// A client; nothing is sent yet.
    pub async fn new(settings: AwsSecretsManagerSettings) -> Self {
        let AwsSecretsManagerSettings { region, endpoint_url, credentials, timeout } = settings;
        Self { client: Client::new(&sdk_config(&region, endpoint_url, credentials, timeout).await) }
    }

    /// The value of a secret at a stage, such as `AWSCURRENT`.
    pub async fn value(&self, secret_id: &str, stage: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let request = self.client.get_secret_value().secret_id(secret_id).version_stage(stage);
        let mut answer = request.send().await.map_err(|told| refused(error(OPERATION, &told), secret_id, stage))?;
        if let Some(text) = answer.secret_string.take() {
            return Ok(Zeroizing::new(text.into_bytes()));
        }
        let binary = answer.secret_binary.take().ok_or(SecretError::Empty)?;
        Ok(Zeroizing::new(binary.into_inner()))
    }
}

/// Secrets Manager speaks the same protocol as KMS; its exceptions have names of their own.
fn refused(error: KmsError, secret_id: &str, stage: &str) -> SecretError {
    match error {
        KmsError::AccessDenied { message, .. } => SecretError::AccessDenied { message },
        KmsError::Unrecognized { code, .. } if code == "ResourceNotFoundException" => {
            SecretError::NotFound { secret_id: secret_id.to_owned(), stage: stage.to_owned() }
        }
        KmsError::Unrecognized { code, message, .. } if code == "DecryptionFailure" => {
            SecretError::AccessDenied { message: format!("{code}: {message}") }
        }
        KmsError::Throttled { message, .. } => SecretError::Unanswered { why: format!("throttled: {message}") },
        KmsError::Unavailable { message, .. } => SecretError::Unanswered { why: message },
        KmsError::NotUnderstood { why, .. } | KmsError::NotSent { why, .. } | KmsError::Ambiguous { why, .. } => {
            SecretError::Unanswered { why }
        }
        refused @ (KmsError::Refused { .. } | KmsError::Unrecognized { .. }) => {
            SecretError::Unanswered { why: refused.said() }
        }
    }
}
