//! Client certificates: which names in one make whom of its holder. TLS has proven the chain and the key before.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::Principal;
use crate::clock::Timestamp;

/// A name in a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// The subject as a string of RFC 4514, such as `CN=deploy,O=Example`; as `openssl x509 -subject -nameopt RFC2253`
    /// prints it, but for letters beyond ASCII, which stand for themselves.
    Subject(String),
    /// A DNS name in the subject alternative names, in lower case.
    Dns(String),
    /// A URI there, such as a SPIFFE id.
    Uri(String),
    /// A mail address there.
    Email(String),
}

/// Whose certificates of a name are.
#[derive(Clone, Debug)]
pub struct KnownCertificate {
    /// The name.
    pub name: CertificateName,
    /// Whose it is.
    pub principal: Arc<Principal>,
}

/// What counts of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    names: Vec<CertificateName>,
    not_after: Timestamp,
}

/// Why nobody was recognised by a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// No name in it is known.
    #[error("no name in the client certificate is known here")]
    Unknown,
    /// Its names are those of several principals.
    #[error("the names in the client certificate are those of several principals")]
    Ambiguous,
    /// Its time is over: it was good when the connection, or the one that it resumes, was made.
    #[error("the client certificate has expired")]
    Expired,
}

impl ClientCertificate {
    /// Reads a certificate (DER) that TLS has accepted; `None` when it cannot be read.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names: Vec<_> = subject(certificate.subject()).map(CertificateName::Subject).into_iter().collect();
        if let Ok(Some(extension)) = certificate.subject_alternative_name() {
            names.extend(extension.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase())),
                GeneralName::URI(uri) => Some(CertificateName::Uri((*uri).to_owned())),
                GeneralName::RFC822Name(mail) => Some(CertificateName::Email((*mail).to_owned())),
                _ => None,
            }));
        }
        Some(Self { names, not_after: Timestamp::from_unix(certificate.validity().not_after.timestamp()) })
    }
}

/// Whose certificate this is: that of the one principal of all its names that are known.
pub fn identify_certificate<'a>(
    known: &'a [KnownCertificate],
    certificate: &ClientCertificate,
    now: Timestamp,
) -> Result<&'a Arc<Principal>, CertificateRefused> {
    if now > certificate.not_after {
        return Err(CertificateRefused::Expired);
    }
    let mut found = known.iter().filter(|one| certificate.names.contains(&one.name)).map(|one| &one.principal);
    let first = found.next().ok_or(CertificateRefused::Unknown)?;
    if found.any(|other| other != first) { Err(CertificateRefused::Ambiguous) } else { Ok(first) }
}

/// The name as RFC 4514 writes it, the last part first. `None` for a name with a part that has no short name or is no
/// text: nobody could write it down.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for set in name.iter_rdn() {
        let mut pairs = Vec::new();
        for attribute in set.iter() {
            let key = match oid2abbrev(attribute.attr_type(), oid_registry()).ok()? {
                // OpenSSL's word for it.
                "Email" => "emailAddress",
                other => other,
            };
            pairs.push(format!("{key}={}", escaped(attribute.as_str().ok()?)));
        }
        parts.push(pairs.join("+"));
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// A value without anything that could be taken for the start of another part (RFC 4514, section 2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        if special || (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;
    use crate::access::Method;

    fn certificate(subject: &[(DnType, &str)], names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        ClientCertificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn known(name: CertificateName, principal: &str) -> KnownCertificate {
        let principal = Principal { name: principal.to_owned(), how: Method::ClientCertificate, grants: Vec::new() };
        KnownCertificate { name, principal: Arc::new(principal) }
    }

    fn ia5(text: &str) -> Ia5String {
        Ia5String::try_from(text).unwrap()
    }

    #[test]
    fn a_holder_is_found_by_any_of_its_names() {
        let of = certificate(
            &[(DnType::CountryName, "DE"), (DnType::OrganizationName, "Example"), (DnType::CommonName, "deploy")],
            vec![
                SanType::DnsName(ia5("Deploy.Example.com")),
                SanType::URI(ia5("spiffe://example.org/ns/ci/sa/deploy")),
                SanType::Rfc822Name(ia5("deploy@example.com")),
            ],
        );
        let now = Timestamp::from_unix(1_800_000_000);
        let who = |name: CertificateName| {
            identify_certificate(&[known(name, "deploy")], &of, now).map(|one| one.name.clone())
        };
        let text = str::to_owned;
        for name in [
            CertificateName::Subject(text("CN=deploy,O=Example,C=DE")),
            CertificateName::Dns(text("deploy.example.com")),
            CertificateName::Uri(text("spiffe://example.org/ns/ci/sa/deploy")),
            CertificateName::Email(text("deploy@example.com")),
        ] {
            assert_eq!(who(name), Ok(text("deploy")));
        }
        for name in [
            CertificateName::Subject(text("CN=deploy")),
            CertificateName::Subject(text("C=DE,O=Example,CN=deploy")),
            CertificateName::Dns(text("deploy@example.com")),
            CertificateName::Dns(text("example.com")),
            CertificateName::Uri(text("spiffe://example.org/ns/ci/sa/deploy/")),
        ] {
            assert_eq!(who(name), Err(CertificateRefused::Unknown));
        }
        let several = [
            known(CertificateName::Dns(text("deploy.example.com")), "one"),
            known(CertificateName::Email(text("deploy@example.com")), "two"),
        ];
        assert_eq!(identify_certificate(&several, &of, now).unwrap_err(), CertificateRefused::Ambiguous);
        assert_eq!(identify_certificate(&several[..1], &of, now).unwrap().name, "one");
        let after = Timestamp::parse("2030-01-01T00:00:01Z").unwrap();
        assert_eq!(identify_certificate(&several, &of, after).unwrap_err(), CertificateRefused::Expired);
        assert_eq!(identify_certificate(&[], &of, now).unwrap_err(), CertificateRefused::Unknown);
    }

    #[test]
    fn no_value_can_pass_for_another_part() {
        let of =
            certificate(&[(DnType::CommonName, "guest,CN=admin"), (DnType::OrganizationName, " #a+b ")], Vec::new());
        assert_eq!(of.names, [CertificateName::Subject("O=\\ #a\\+b\\ ,CN=guest\\,CN=admin".to_owned())]);
    }

    #[test]
    fn what_is_no_certificate() {
        for bytes in [&b""[..], b"DoNotLeak", &[0x30, 0x82, 0xff, 0xff]] {
            assert_eq!(ClientCertificate::parse(bytes), None);
        }
    }
}
