//! Certificates that AWS shows as PEM text: who they name, and whether two are the same one.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;
use x509_parser::x509::X509Name;

/// AWS shows at most 5,000 characters of a trust anchor and 20,000 of a cluster's certificate.
const LONGEST_PEM: usize = 20_000;

/// What tells a certificate from others. Nothing about it is verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CertificateIdentity {
    /// Subject, RFC 4514 style.
    pub subject: String,
    /// Issuer, in the same form.
    pub issuer: String,
    /// SHA-256 of the certificate itself, hexadecimal: the same for two texts that differ in line breaks.
    pub sha256: String,
}

impl CertificateIdentity {
    /// Reads the first certificate of a PEM text; `None` when there is none that can be read, or the text is longer
    /// than AWS has any.
    pub fn parse(pem: &str) -> Option<Self> {
        if pem.len() > LONGEST_PEM {
            return None;
        }
        let (_, block) = parse_x509_pem(pem.trim_start().as_bytes()).ok()?;
        let certificate = block.parse_x509().ok()?;
        let digest = digest::digest(&digest::SHA256, &block.contents);
        let sha256 = digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Some(Self { subject: name(certificate.subject()), issuer: name(certificate.issuer()), sha256 })
    }
}

/// Control characters in a name must not reach a terminal or a log.
fn name(name: &X509Name<'_>) -> String {
    name.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS.first().unwrap();
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, root.as_ref());
        let lines: Vec<String> =
            encoded.as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    #[test]
    fn line_breaks_make_no_difference() {
        let pem = authority();
        let one = CertificateIdentity::parse(&pem).unwrap();
        assert_eq!(one.subject, one.issuer, "a root names itself");
        assert_eq!(CertificateIdentity::parse(&pem.replace('\n', "\r\n")), Some(one));
    }

    #[test]
    fn what_is_no_certificate_has_no_identity() {
        for text in ["", "anchor", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(CertificateIdentity::parse(text), None);
        }
        assert_eq!(CertificateIdentity::parse(&format!("{}{}", authority(), " ".repeat(LONGEST_PEM))), None);
    }
}
