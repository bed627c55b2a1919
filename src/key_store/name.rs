//! Names and identifiers that AWS gives to things around a custom key store.

use super::text_newtype;

text_newtype!(
    /// `CustomKeyStoreId`: 1-64 characters, in practice `cks-` and 17 hexadecimal digits (UpdateCustomKeyStore).
    CustomKeyStoreId,
    "CustomKeyStoreId",
    "must be 1 to 64 letters, digits, hyphens or underscores",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

text_newtype!(
    /// `CustomKeyStoreName`: 1-256 characters, unique in account and Region.
    CustomKeyStoreName,
    "CustomKeyStoreName",
    "must be 1 to 256 characters without control characters",
    |text| !text.is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
);

text_newtype!(
    /// An AWS Region, such as `eu-central-1` or `us-gov-west-1`.
    Region,
    "Region",
    "must look like an AWS Region, for example eu-central-1",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let Some((number, words)) = parts.split_last() else { return false };
        (2..=3).contains(&words.len())
            && text.len() <= 32
            && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
            && (1..=2).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
    }
);

text_newtype!(
    /// An AWS account: exactly twelve digits (`XksProxyVpcEndpointServiceOwner`).
    AccountId,
    "XksProxyVpcEndpointServiceOwner",
    "must be exactly 12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

text_newtype!(
    /// `CloudHsmClusterId`: `cluster-` and 11-16 of `2-7a-zA-Z`.
    CloudHsmClusterId,
    "CloudHsmClusterId",
    "must be cluster- followed by 11 to 16 of 2-7, a-z, A-Z",
    |text| text.strip_prefix("cluster-").is_some_and(|rest| {
        (11..=16).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphabetic() || (b'2'..=b'7').contains(&b))
    })
);

text_newtype!(
    /// `XksKeyConfiguration.Id`, the key's name in the external key manager: 1-128 of `A-Za-z0-9-_.`.
    ExternalKeyId,
    "XksKeyId",
    "must be 1 to 128 of A-Z, a-z, 0-9, hyphen, underscore, dot",
    |text| (1..=ExternalKeyId::LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
);

impl ExternalKeyId {
    /// How many characters it has at most.
    pub const LONGEST: usize = 128;
}

text_newtype!(
    /// `XksProxyVpcEndpointServiceName`: 20-64 characters,
    /// `^(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}\d+\.vpce-svc-[0-9a-z]+$`.
    VpcEndpointServiceName,
    "XksProxyVpcEndpointServiceName",
    "must be com.amazonaws.vpce.<region>.vpce-svc-<id>, 20 to 64 characters",
    |text| {
        let rest = text.strip_prefix("com.amazonaws.vpce.").or_else(|| text.strip_prefix("eu.amazonaws.vpce."));
        let Some((region, service)) = rest.and_then(|rest| rest.split_once('.')) else { return false };
        let parts: Vec<&str> = region.split('-').collect();
        let Some((number, words)) = parts.split_last() else { return false };
        (20..=64).contains(&text.len())
            && (2..=3).contains(&words.len())
            && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && service.strip_prefix("vpce-svc-").is_some_and(|id| {
                !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            })
    }
);

impl VpcEndpointServiceName {
    /// The Region inside the name: KMS wants the key store's own (aws-kms developer guide, VPC connectivity).
    pub fn region(&self) -> &str {
        self.as_str().split('.').nth(3).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    /// KMS's own expressions (botocore's KMS model), with its length limits applied beside them.
    const SERVICE: &str = r"^(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}[0-9]+\.vpce-svc-[0-9a-z]+$";
    const KEY_ID: &str = r"^[a-zA-Z0-9-_.]+$";

    proptest! {
        #[test]
        fn service_name_agrees_with_kms(text in r"((com|eu|cn)\.amazonaws\.vpce\.([a-z]{1,4}-){1,4}[0-9]{0,2}\.vpce-svc-[0-9a-zA-Z]{0,40})|[ -~]{0,70}") {
            let kms = Regex::new(SERVICE).unwrap().is_match(&text) && (20..=64).contains(&text.len());
            let ours = VpcEndpointServiceName::parse(&text);
            prop_assert_eq!(ours.is_ok(), kms);
            if let Ok(name) = ours {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn external_key_id_agrees_with_kms(text in r"[a-zA-Z0-9._ /-]{0,140}") {
            let kms = Regex::new(KEY_ID).unwrap().is_match(&text) && text.len() <= 128;
            prop_assert_eq!(ExternalKeyId::parse(&text).is_ok(), kms);
        }

        #[test]
        fn names_round_trip(text in r"\PC{1,60}") {
            if let Ok(name) = CustomKeyStoreName::parse(&text) {
                let json = serde_json::to_string(&name).unwrap();
                prop_assert_eq!(serde_json::from_str::<CustomKeyStoreName>(&json).unwrap(), name);
            }
        }
    }

    #[test]
    fn service_name_knows_its_region() {
        let name = VpcEndpointServiceName::parse("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0").unwrap();
        assert_eq!(name.region(), "us-east-1");
    }

    #[test]
    fn regions() {
        for good in ["us-east-1", "us-gov-west-1", "eu-central-2"] {
            assert!(Region::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "useast1", "us-east", "US-EAST-1", "us-east-1 ", "us--1"] {
            assert!(Region::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn clusters_and_accounts() {
        assert!(CloudHsmClusterId::parse("cluster-1a23b4cdefg").is_err(), "1 is not in the alphabet");
        assert!(CloudHsmClusterId::parse("cluster-2a23b4cdefg").is_ok());
        assert!(AccountId::parse("111122223333").is_ok());
        assert!(AccountId::parse("11112222333").is_err());
    }
}
