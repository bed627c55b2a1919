//! The lengths and patterns of the KMS model (`service-2.json` of botocore, API version 2014-11-01), and the
//! `ValidationException` that lists every one broken.
//!
//! The patterns are matched by hand: the strings here are what KMS prints, the functions what it means.

use super::wire::Failure;

/// One member's value as it stands in the request.
pub(super) struct Member<'a> {
    /// The member as KMS spells it in messages, such as `xksProxyUriPath`.
    pub(super) name: &'static str,
    /// The value; `None` if the request leaves it out.
    pub(super) value: Option<&'a str>,
    /// Whether the model marks it sensitive, so that no message may echo it.
    pub(super) sensitive: bool,
}

/// Collects what the members break.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    broken: Vec<String>,
}

/// How many faults one message names at most, as the Coral framework bounds it too.
const MAX_NAMED: usize = 10;

impl Constraints {
    fn broke(&mut self, member: &Member<'_>, what: &str) {
        let value = match member.value {
            None => "Value null".to_owned(),
            Some(_) if member.sensitive => "Value".to_owned(),
            // Long values are cut: the message must not grow with the request.
            Some(value) => format!("Value '{}'", value.chars().take(256).collect::<String>()),
        };
        self.broken.push(format!("{value} at '{}' failed to satisfy constraint: {what}", member.name));
    }

    /// The member must be there.
    pub(super) fn required(&mut self, name: &'static str, present: bool) {
        if !present {
            self.broke(&Member { name, value: None, sensitive: false }, "Member must not be null");
        }
    }

    /// The member's length in characters, if it is there.
    pub(super) fn length(&mut self, member: &Member<'_>, min: usize, max: usize) {
        let Some(value) = member.value else { return };
        let length = value.chars().count();
        if length < min {
            self.broke(member, &format!("Member must have length greater than or equal to {min}"));
        }
        if length > max {
            self.broke(member, &format!("Member must have length less than or equal to {max}"));
        }
    }

    /// The member's pattern, if it is there.
    pub(super) fn pattern(&mut self, member: &Member<'_>, pattern: &Pattern) {
        if member.value.is_some_and(|value| !(pattern.matches)(value)) {
            self.broke(member, &format!("Member must satisfy regular expression pattern: {}", pattern.text));
        }
    }

    /// The member is one of these words, if it is there.
    pub(super) fn one_of(&mut self, member: &Member<'_>, words: &[&str]) {
        if member.value.is_some_and(|value| !words.contains(&value)) {
            self.broke(member, &format!("Member must satisfy enum value set: [{}]", words.join(", ")));
        }
    }

    /// The number lies in this range, if it is there.
    pub(super) fn range(&mut self, name: &'static str, value: Option<i64>, min: i64, max: i64) {
        let Some(number) = value else { return };
        let text = number.to_string();
        let member = Member { name, value: Some(&text), sensitive: false };
        if number < min {
            self.broke(&member, &format!("Member must have value greater than or equal to {min}"));
        }
        if number > max {
            self.broke(&member, &format!("Member must have value less than or equal to {max}"));
        }
    }

    /// `ValidationException` if anything was broken.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let count = self.broken.len();
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let named = self.broken.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join("; ");
        Err(Failure::validation(format!("{count} validation {errors} detected: {named}")))
    }
}

/// A pattern of the model: its text, and whether a value matches.
pub(super) struct Pattern {
    pub(super) text: &'static str,
    pub(super) matches: fn(&str) -> bool,
}

fn all(text: &str, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

pub(super) const ENDPOINT: Pattern = Pattern {
    text: "^https://[a-zA-Z0-9.-]+$",
    matches: |value| {
        value.strip_prefix("https://").is_some_and(|host| all(host, |c| c.is_ascii_alphanumeric() || ".-".contains(c)))
    },
};

pub(super) const PATH: Pattern = Pattern {
    text: r"^(/[a-zA-Z0-9\/_-]+/kms/xks/v\d{1,2})$|^(/kms/xks/v\d{1,2})$",
    matches: |value| {
        let Some((before, version)) = value.rsplit_once("/kms/xks/v") else { return false };
        let prefix = before.strip_prefix('/');
        all(version, |c| c.is_ascii_digit())
            && version.len() <= 2
            && (before.is_empty()
                || prefix.is_some_and(|rest| all(rest, |c| c.is_ascii_alphanumeric() || "/_-".contains(c))))
    },
};

pub(super) const ACCESS_KEY_ID: Pattern = Pattern {
    text: "^[A-Z2-7]+$",
    matches: |value| all(value, |c| c.is_ascii_uppercase() || ('2'..='7').contains(&c)),
};

pub(super) const RAW_SECRET: Pattern = Pattern {
    text: r"^[a-zA-Z0-9\/+=]+$",
    matches: |value| all(value, |c| c.is_ascii_alphanumeric() || "/+=".contains(c)),
};

pub(super) const SERVICE_OWNER: Pattern = Pattern {
    text: "[0-9]{12}",
    matches: |value| value.as_bytes().windows(12).any(|window| window.iter().all(u8::is_ascii_digit)),
};

pub(super) const SERVICE_NAME: Pattern = Pattern {
    text: r"^(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}\d+\.vpce-svc-[0-9a-z]+$",
    matches: |value| {
        let rest = value.strip_prefix("com.").or_else(|| value.strip_prefix("eu."));
        let Some((region, service)) =
            rest.and_then(|rest| rest.strip_prefix("amazonaws.vpce.")).and_then(|rest| rest.split_once(".vpce-svc-"))
        else {
            return false;
        };
        let mut words: Vec<&str> = region.split('-').collect();
        let number = words.pop().unwrap_or_default();
        all(number, |c| c.is_ascii_digit())
            && (2..=3).contains(&words.len())
            && words.iter().all(|word| all(word, |c| c.is_ascii_lowercase()))
            && all(service, |c| c.is_ascii_digit() || c.is_ascii_lowercase())
    },
};

pub(super) const CLUSTER_ID: Pattern = Pattern {
    text: "cluster-[2-7a-zA-Z]{11,16}",
    matches: |value| {
        value.match_indices("cluster-").any(|(at, prefix)| {
            let rest = value.get(at + prefix.len()..).unwrap_or_default();
            rest.chars().take_while(|&c| c.is_ascii_alphabetic() || ('2'..='7').contains(&c)).count() >= 11
        })
    },
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agrees(pattern: &Pattern, value: &str) -> bool {
        // The model's `\d` is ASCII, so the regular expression here is too.
        let regex = regex::Regex::new(&pattern.text.replace(r"\d", "[0-9]")).expect("model pattern");
        regex.is_match(value) == (pattern.matches)(value)
    }

    proptest! {
        #[test]
        fn hand_written_matchers_agree_with_the_models_patterns(
            endpoint in r"https://[a-zA-Z0-9._/-]{0,12}|[a-z:/]{0,12}",
            path in r"(/[a-z0-9/_.-]{0,8})?/kms/xks/v[0-9a]{0,3}/?|/kms/xks/v1(/kms/xks/v[0-9]{1,2})?",
            access_key_id in "[A-Z0-9]{0,24}|[A-Z2-7]{20,30}",
            secret in "[a-zA-Z0-9/+=_-]{0,50}",
            owner in "[0-9a]{10,14}",
            service in r"(com|eu|cn)\.amazonaws\.vpce\.([a-z]{1,4}-){1,4}[0-9]{0,2}\.vpce-svc-[0-9a-zA-Z]{0,9}",
            cluster in "x?(cluster-){0,2}[0-9a-z]{9,18}",
        ) {
            for (pattern, value) in [
                (&ENDPOINT, &endpoint), (&PATH, &path), (&ACCESS_KEY_ID, &access_key_id), (&RAW_SECRET, &secret),
                (&SERVICE_OWNER, &owner), (&SERVICE_NAME, &service), (&CLUSTER_ID, &cluster),
            ] {
                prop_assert!(agrees(pattern, value), "{} on {value:?}", pattern.text);
            }
        }
    }

    #[test]
    fn a_broken_member_is_named_the_way_kms_names_it() {
        let mut constraints = Constraints::default();
        let member = Member { name: "xksProxyUriEndpoint", value: Some("ftp://x"), sensitive: false };
        constraints.length(&member, 10, 128);
        constraints.pattern(&member, &ENDPOINT);
        let failure = constraints.finish().expect_err("both are broken");
        assert_eq!(failure.name, "ValidationException");
        assert_eq!(
            failure.message,
            "2 validation errors detected: Value 'ftp://x' at 'xksProxyUriEndpoint' failed to satisfy constraint: \
             Member must have length greater than or equal to 10; Value 'ftp://x' at 'xksProxyUriEndpoint' failed to \
             satisfy constraint: Member must satisfy regular expression pattern: ^https://[a-zA-Z0-9.-]+$"
        );
    }

    #[test]
    fn a_sensitive_value_is_never_echoed() {
        let mut constraints = Constraints::default();
        let member =
            Member { name: "keyStorePassword", value: Some("DoNotLeak but much too long for KMS"), sensitive: true };
        constraints.length(&member, 7, 32);
        let failure = constraints.finish().expect_err("too long");
        assert!(!failure.message.contains("DoNotLeak"), "{}", failure.message);
    }
}
