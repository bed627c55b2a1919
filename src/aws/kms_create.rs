//! CreateCustomKeyStore through the AWS SDK: one attempt under a permit.

use async_trait::async_trait;
use aws_sdk_kms::operation::RequestId as _;
use aws_sdk_kms::types::CustomKeyStoreType;

use super::kms::{AwsKms, once};
use super::kms_translate::{connectivity, error, proxy_credential};
use crate::key_store::{Connectivity, CustomKeyStoreId, ProxyCredential};
use crate::kms::{KeyStoreMaker, KmsError, Made};
use crate::update::CreationPermit;

const OPERATION: &str = "CreateCustomKeyStore";

#[async_trait]
impl KeyStoreMaker for AwsKms {
    async fn make(&self, permit: CreationPermit, credential: &ProxyCredential) -> Result<Made, KmsError> {
        let creation = permit.creation();
        let settings = &creation.settings;
        let not_sent = |why: String| KmsError::NotSent { operation: OPERATION, why };
        if credential.access_key_id != settings.access_key_id || credential.fingerprint() != *permit.credential() {
            return Err(not_sent("XksProxyAuthenticationCredential is not the one that the permit is for".to_owned()));
        }
        let (service, owner) = match &settings.connectivity {
            Connectivity::PublicEndpoint => (None, None),
            Connectivity::VpcEndpointService { name, owner } => {
                (Some(name.to_string()), owner.as_ref().map(ToString::to_string))
            }
        };
        let request = self
            .client
            .create_custom_key_store()
            .custom_key_store_name(creation.name.as_str())
            // Without it KMS makes a CloudHSM key store.
            .custom_key_store_type(CustomKeyStoreType::ExternalKeyStore)
            .xks_proxy_uri_endpoint(settings.endpoint.to_string())
            .xks_proxy_uri_path(settings.path.to_string())
            .xks_proxy_connectivity(connectivity(settings.connectivity.kind()))
            .set_xks_proxy_vpc_endpoint_service_name(service)
            .set_xks_proxy_vpc_endpoint_service_owner(owner)
            .xks_proxy_authentication_credential(proxy_credential(credential).map_err(not_sent)?);
        let answer = request.customize().config_override(once()).send().await.map_err(|e| error(OPERATION, &e))?;
        let id = CustomKeyStoreId::parse(answer.custom_key_store_id().unwrap_or_default());
        // It is made, whatever it is called: somebody has to look.
        let id = id.map_err(|invalid| KmsError::Ambiguous { operation: OPERATION, why: invalid.to_string() })?;
        Ok(Made { id, request_id: answer.request_id().map(ToOwned::to_owned) })
    }
}
