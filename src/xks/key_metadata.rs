//! The answer to GetKeyMetadata (XKS proxy API, GetKeyMetadata, Response).

use super::document::{Violation, object, parse, required, string, wrong_type};

/// What the proxy tells of one external key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMetadata {
    /// `AES_256` is the only spec that KMS accepts; others are kept for judging.
    pub key_spec: String,
    /// At most 10; needs `ENCRYPT` and `DECRYPT`.
    pub key_usage: Vec<String>,
    /// Whether the key may be used.
    pub key_status: KeyStatus,
}

/// `keyStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// The key works. A proxy that cannot disable keys always says so.
    Enabled,
    /// The key is disabled.
    Disabled,
}

impl KeyMetadata {
    /// Reads the body of an answer with status 200; the error names the first violation.
    pub fn parse(body: &[u8]) -> Result<Self, Violation> {
        let document = parse(body)?;
        let map = object(&document)?;
        let key_spec = string(map, "", "keySpec")?.to_owned();
        let usage = required(map, "", "keyUsage")?;
        let usage = usage.as_array().ok_or_else(|| wrong_type("", "keyUsage", "an array", usage))?;
        if usage.len() > 10 {
            return Err(Violation::at("/keyUsage", format!("must have at most 10 entries, has {}", usage.len())));
        }
        let key_usage = usage
            .iter()
            .enumerate()
            .map(|(index, value)| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| wrong_type("/keyUsage", &index.to_string(), "a string", value))
            })
            .collect::<Result<_, _>>()?;
        let key_status = match string(map, "", "keyStatus")? {
            "ENABLED" => KeyStatus::Enabled,
            "DISABLED" => KeyStatus::Disabled,
            _ => return Err(Violation::at("/keyStatus", "must be ENABLED or DISABLED")),
        };
        Ok(Self { key_spec, key_usage, key_status })
    }

    /// What keeps KMS from using the key, in words; empty if nothing does (XKS proxy API, GetKeyMetadata).
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.key_spec != "AES_256" {
            let shown: String = self.key_spec.chars().filter(|c| !c.is_control()).take(40).collect();
            found.push(format!("keySpec is {shown:?} instead of AES_256"));
        }
        if self.key_status == KeyStatus::Disabled {
            found.push("keyStatus is DISABLED".to_owned());
        }
        let lacking: Vec<&str> = ["ENCRYPT", "DECRYPT"]
            .into_iter()
            .filter(|wanted| !self.key_usage.iter().any(|usage| usage == wanted))
            .collect();
        if !lacking.is_empty() {
            found.push(format!("keyUsage lacks {}", lacking.join(" and ")));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_is_read_and_usable() {
        let body = br#"{"keySpec":"AES_256","keyUsage":["DECRYPT","ENCRYPT","WRAP"],"keyStatus":"ENABLED"}"#;
        assert_eq!(KeyMetadata::parse(body).unwrap().shortcomings(), Vec::<String>::new());
    }

    #[test]
    fn well_formed_answers_may_still_be_useless() {
        for (body, shortcomings) in [
            (
                r#"{"keySpec":"RSA_0","keyUsage":[],"keyStatus":"ENABLED"}"#,
                &["keySpec is \"RSA_0\" instead of AES_256", "keyUsage lacks ENCRYPT and DECRYPT"][..],
            ),
            (r#"{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}"#, &["keyUsage lacks DECRYPT"]),
            (
                r#"{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"DISABLED"}"#,
                &["keyStatus is DISABLED"],
            ),
        ] {
            assert_eq!(KeyMetadata::parse(body.as_bytes()).unwrap().shortcomings(), shortcomings, "{body}");
        }
    }

    #[test]
    fn violations_are_named() {
        let told = |body: &str| KeyMetadata::parse(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(told(r#"{"keyUsage":[],"keyStatus":"ENABLED"}"#), "/keySpec: is missing");
        assert_eq!(
            told(r#"{"keySpec":"A","keyUsage":[1],"keyStatus":"ENABLED"}"#),
            "/keyUsage/0: must be a string, is a number"
        );
        assert_eq!(told(r#"{"keySpec":"A","keyUsage":[],"keyStatus":"x"}"#), "/keyStatus: must be ENABLED or DISABLED");
    }
}
