//! KMS keys through the AWS SDK: ListKeys and DescribeKey, one attempt each.

use async_trait::async_trait;
use aws_sdk_kms::operation::describe_key::DescribeKeyError;
use aws_sdk_kms::types::{KeyMetadata, OriginType};

use super::kms::{AwsKms, once};
use super::kms_translate::error;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, Invalid};
use crate::kms::{KeyHome, KeyLister, KeyPage, KmsError};

/// The largest page that ListKeys gives.
const PAGE: i32 = 1_000;

/// Longer than any ARN of a key (`arn:aws-iso-b:kms:<region>:<account>:key/mrk-<32 hex>` has about 100 characters).
const LONGEST_ARN: usize = 256;

const LIST: &str = "ListKeys";
const DESCRIBE: &str = "DescribeKey";

#[async_trait]
impl KeyLister for AwsKms {
    async fn keys(&self, marker: Option<&str>) -> Result<KeyPage, KmsError> {
        let not_understood = |why: &str| KmsError::NotUnderstood { operation: LIST, why: why.to_owned() };
        let request = self.client.list_keys().limit(PAGE).set_marker(marker.map(ToOwned::to_owned));
        let answer = request.customize().config_override(once()).send().await.map_err(|e| error(LIST, &e))?;
        let mut arns = Vec::with_capacity(answer.keys().len());
        for entry in answer.keys() {
            let arn = entry.key_arn().ok_or_else(|| not_understood("a key without KeyArn"))?;
            if !is_key_arn(arn) {
                return Err(not_understood("a KeyArn that is none"));
            }
            arns.push(arn.to_owned());
        }
        let next = match (answer.truncated(), answer.next_marker()) {
            (false, _) => None,
            // Without a new marker the same page would come again for ever.
            (true, Some(next)) if Some(next) != marker => Some(next.to_owned()),
            (true, _) => return Err(not_understood("it is Truncated and has no new NextMarker")),
        };
        Ok(KeyPage { arns, next })
    }

    async fn home(&self, arn: &str) -> Result<Option<KeyHome>, KmsError> {
        let request = self.client.describe_key().key_id(arn);
        match request.customize().config_override(once()).send().await {
            Ok(answer) => {
                let metadata = answer.key_metadata().ok_or("no KeyMetadata".to_owned());
                let home = metadata.and_then(|metadata| home(arn, metadata));
                home.map(Some).map_err(|why| KmsError::NotUnderstood { operation: DESCRIBE, why })
            }
            // Deleted since it was listed. Keys that only wait for deletion are described like any other, and still
            // need their external key.
            Err(failure) if failure.as_service_error().is_some_and(DescribeKeyError::is_not_found_exception) => {
                Ok(None)
            }
            Err(failure) => Err(error(DESCRIBE, &failure)),
        }
    }
}

fn is_key_arn(arn: &str) -> bool {
    let shape: Vec<&str> = arn.split(':').collect();
    let fits = matches!(shape.as_slice(), ["arn", _, "kms", _, _, id] if id.starts_with("key/"));
    fits && arn.len() <= LONGEST_ARN && arn.is_ascii()
}

fn home(arn: &str, metadata: &KeyMetadata) -> Result<KeyHome, String> {
    let told = |invalid: Invalid| invalid.to_string();
    match metadata.arn() {
        Some(described) if described == arn => {}
        Some(_) => return Err("it is about another key".to_owned()),
        None => return Err("a key without Arn".to_owned()),
    }
    // Matched by text: the SDK's enum grows, and its new variants must not fall into an arm of ours.
    let external = metadata.origin().map(OriginType::as_str) == Some("EXTERNAL_KEY_STORE");
    match (external, metadata.custom_key_store_id(), metadata.xks_key_configuration()) {
        (true, Some(key_store), Some(configuration)) => Ok(KeyHome::ExternalKeyStore {
            key_store: CustomKeyStoreId::parse(key_store).map_err(told)?,
            external_key_id: ExternalKeyId::parse(configuration.id().unwrap_or_default()).map_err(told)?,
        }),
        (true, None, _) => Err("a key of an external key store without CustomKeyStoreId".to_owned()),
        (true, _, None) => Err("a key of an external key store without XksKeyConfiguration".to_owned()),
        (false, _, Some(_)) => Err("XksKeyConfiguration and an Origin other than EXTERNAL_KEY_STORE".to_owned()),
        (false, _, None) if metadata.origin().is_none() => Err("a key without Origin".to_owned()),
        (false, _, None) => Ok(KeyHome::Elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::types::XksKeyConfigurationType;
    use aws_sdk_kms::types::builders::KeyMetadataBuilder;

    use super::*;

    const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn external(id: &str) -> KeyMetadataBuilder {
        KeyMetadata::builder()
            .key_id("1234abcd-12ab-34cd-56ef-1234567890ab")
            .arn(ARN)
            .origin(OriginType::ExternalKeyStore)
            .custom_key_store_id("cks-1234567890abcdef0")
            .xks_key_configuration(XksKeyConfigurationType::builder().id(id).build())
    }

    fn of(metadata: KeyMetadataBuilder) -> Result<KeyHome, String> {
        home(ARN, &metadata.build().unwrap())
    }

    #[test]
    fn keys_have_their_homes() {
        assert!(matches!(of(external("k-1")), Ok(KeyHome::ExternalKeyStore { .. })));
        let elsewhere = |origin| external("k").set_xks_key_configuration(None).origin(origin);
        for origin in [OriginType::AwsKms, OriginType::AwsCloudhsm, OriginType::from("QUANTUM")] {
            assert_eq!(of(elsewhere(origin)), Ok(KeyHome::Elsewhere));
        }
    }

    #[test]
    fn surprising_keys_are_told_in_words() {
        for (odd, words) in [
            (external("k").set_arn(None), "without Arn"),
            (external("k").arn(format!("{ARN}0")), "another key"),
            (external("no spaces"), "1 to 128"),
            (external("k").set_custom_key_store_id(None), "CustomKeyStoreId"),
            (external("k").custom_key_store_id("?"), "CustomKeyStoreId"),
            (external("k").set_xks_key_configuration(None), "XksKeyConfiguration"),
            (external("k").set_origin(None), "Origin"),
            (external("k").set_origin(None).set_xks_key_configuration(None), "Origin"),
        ] {
            let why = of(odd).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn key_arns() {
        assert!(is_key_arn(ARN));
        for bad in ["", "key/1", "arn:aws:kms:us-east-1:111122223333:alias/a", "arn:aws:s3:::key/1"] {
            assert!(!is_key_arn(bad), "{bad}");
        }
        assert!(!is_key_arn(&format!("{ARN}{}", "0".repeat(300))));
    }
}
