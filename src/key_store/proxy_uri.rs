//! Where a proxy is: the endpoint (`https://` and a host) and the path below it.

use super::text_newtype;

text_newtype!(
    /// `XksProxyUriEndpoint`: `^https://[a-zA-Z0-9.-]+$`, 10-128 characters; no port, no path.
    ///
    /// KMS also lets through IP literals and single labels, which cannot work: check `input.endpoint_fqdn`.
    XksProxyUriEndpoint,
    "XksProxyUriEndpoint",
    "must be https:// and a host name, 10 to 128 characters of a-z, A-Z, 0-9, dot and hyphen, without port or path",
    |text| (10..=128).contains(&text.len())
        && text.strip_prefix("https://").is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        })
);

impl XksProxyUriEndpoint {
    /// The host as written, without the scheme.
    pub fn host(&self) -> &str {
        self.as_str().strip_prefix("https://").unwrap_or_default()
    }

    /// The form for comparing two endpoints: DNS ignores case and a trailing dot.
    pub fn canonical(&self) -> String {
        self.as_str().trim_end_matches('.').to_ascii_lowercase()
    }

    /// What is wrong with the host as a fully qualified DNS name, if anything (XKS proxy API, URI: "server is the
    /// fully qualified domain name"). In words for the person on call.
    pub fn not_fully_qualified(&self) -> Option<&'static str> {
        let host = self.host();
        let labels: Vec<&str> = host.split('.').collect();
        if host.ends_with('.') {
            return Some("ends in a dot");
        }
        if labels.iter().all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit())) {
            return Some("is an IP address");
        }
        if labels.len() < 2 {
            return Some("is a single label");
        }
        if labels.iter().any(|label| label.is_empty()) {
            return Some("has an empty label");
        }
        if labels.iter().any(|label| label.len() > 63) {
            return Some("has a label of more than 63 characters");
        }
        if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Some("has a label that starts or ends with a hyphen");
        }
        if labels.last().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
            return Some("has a top-level domain of digits only");
        }
        None
    }
}

text_newtype!(
    /// `XksProxyUriPath`: `^(/[a-zA-Z0-9\/_-]+/kms/xks/v\d{1,2})$|^(/kms/xks/v\d{1,2})$`, 10-128 characters.
    ///
    /// Only version 1 exists (check `input.path_version`), and empty segments are asking for trouble
    /// (`input.path_canonical`).
    XksProxyUriPath,
    "XksProxyUriPath",
    "must be [/prefix]/kms/xks/v1, 10 to 128 characters, the prefix of a-z, A-Z, 0-9, slash, underscore and hyphen",
    |text| {
        if !(10..=128).contains(&text.len()) {
            return false;
        }
        let Some((head, version)) = text.rsplit_once("/kms/xks/v") else { return false };
        (1..=2).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_digit())
            && (head.is_empty()
                || (head.len() >= 2
                    && head.starts_with('/')
                    && head.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-'))))
    }
);

impl XksProxyUriPath {
    /// The API version after `/v`; XKS proxy API 1.0.3 knows only `1`.
    pub fn version(&self) -> &str {
        self.as_str().rsplit_once("/v").map_or("", |(_, version)| version)
    }

    /// Whether there is a segment without characters (`//`).
    pub fn has_empty_segment(&self) -> bool {
        self.as_str().contains("//")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    const ENDPOINT: &str = r"^https://[a-zA-Z0-9.-]+$";
    const PATH: &str = r"^(/[a-zA-Z0-9/_-]+/kms/xks/v[0-9]{1,2})$|^(/kms/xks/v[0-9]{1,2})$";

    proptest! {
        #[test]
        fn endpoint_agrees_with_kms(text in r"(https?://)?[a-zA-Z0-9.:/_-]{0,130}") {
            let kms = Regex::new(ENDPOINT).unwrap().is_match(&text) && (10..=128).contains(&text.len());
            let ours = XksProxyUriEndpoint::parse(&text);
            prop_assert_eq!(ours.is_ok(), kms);
            if let Ok(endpoint) = ours {
                prop_assert_eq!(endpoint.to_string(), text);
            }
        }

        #[test]
        fn path_agrees_with_kms(text in r"(/[a-zA-Z0-9/_.-]{0,20}){0,3}(/kms/xks/v[0-9]{0,3})?(/kms/xks/v1)?") {
            let kms = Regex::new(PATH).unwrap().is_match(&text) && (10..=128).contains(&text.len());
            let ours = XksProxyUriPath::parse(&text);
            prop_assert_eq!(ours.is_ok(), kms, "{}", text);
            if let Ok(path) = ours {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }

    #[test]
    fn hosts_that_kms_accepts_and_that_cannot_work() {
        for (endpoint, why) in [
            ("https://10.0.0.1", "is an IP address"),
            ("https://localhost", "is a single label"),
            ("https://xks.example.com.", "ends in a dot"),
            ("https://xks..example.com", "has an empty label"),
            ("https://-xks.example.com", "has a label that starts or ends with a hyphen"),
            ("https://xks.example.123", "has a top-level domain of digits only"),
        ] {
            let endpoint = XksProxyUriEndpoint::parse(endpoint).unwrap();
            assert_eq!(endpoint.not_fully_qualified(), Some(why));
        }
        assert_eq!(XksProxyUriEndpoint::parse("https://xks.example.com").unwrap().not_fully_qualified(), None);
    }

    #[test]
    fn a_trailing_newline_is_no_path() {
        assert!(XksProxyUriPath::parse("/kms/xks/v1\n").is_err());
        assert!(XksProxyUriPath::parse("//kms/xks/v1").is_err());
        assert_eq!(XksProxyUriPath::parse("/a/kms/xks/v12").unwrap().version(), "12");
    }
}
