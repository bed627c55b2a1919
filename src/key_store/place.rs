//! Where a custom key store is: in an account, and there in a Region.

use std::fmt;

use serde::Serialize;

use super::{Region, text_newtype};

text_newtype!(
    /// What the configuration calls an AWS account. Not its number: an identity is told by its credentials, and two
    /// names may lead into one account.
    AccountName,
    "the name of an account",
    "must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore",
    |text| {
        (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    }
);

/// The name of the account that the daemon's own AWS credentials belong to.
const HOME: &str = "home";

impl AccountName {
    /// The account of `[kms]`.
    pub fn home() -> Self {
        Self(HOME.to_owned())
    }

    /// Whether it is the account of `[kms]`.
    pub fn is_home(&self) -> bool {
        self.0 == HOME
    }
}

/// An account and a Region: KMS answers for one of them at a time, with quotas of its own in each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The account, as the configuration calls it.
    pub account: AccountName,
    /// The Region.
    pub region: Region,
}

impl Place {
    /// This Region of the account of `[kms]`.
    pub fn home(region: Region) -> Self {
        Self { account: AccountName::home(), region }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_names_for_people_and_labels() {
        for good in ["home", "payments-prod", "A_1", &"a".repeat(40)] {
            assert_eq!(AccountName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "é", "a.b", &"a".repeat(41)] {
            assert!(AccountName::parse(bad).is_err(), "{bad}");
        }
        let place = Place::home(Region::parse("eu-central-1").unwrap());
        assert_eq!(place.to_string(), "home/eu-central-1");
        assert!(place.account.is_home() && !AccountName::parse("payments").unwrap().is_home());
    }
}
