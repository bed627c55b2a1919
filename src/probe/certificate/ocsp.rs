//! The one date that matters of a stapled OCSP response. Its signature is not verified: it is shown, not judged.

use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::der::parse_der;

use crate::check::OcspStaple;
use crate::clock::Timestamp;

/// What came with the handshake; `None` if nothing did.
pub(in crate::probe) fn read(staple: &[u8]) -> Option<OcspStaple> {
    (!staple.is_empty()).then(|| OcspStaple { produced_at: produced_at(staple) })
}

/// `producedAt` (RFC 6960, section 4.2.1): OCSPResponse { status, \[0\] { type, OCTET STRING of BasicOCSPResponse } },
/// BasicOCSPResponse { tbsResponseData { ..., producedAt, ... }, ... }.
fn produced_at(response: &[u8]) -> Option<Timestamp> {
    let (_, response) = parse_der(response).ok()?;
    let (_, typed) = parse_der(response.as_sequence().ok()?.get(1)?.as_slice().ok()?).ok()?;
    let (_, basic) = parse_der(typed.as_sequence().ok()?.get(1)?.as_slice().ok()?).ok()?;
    basic.as_sequence().ok()?.first()?.as_sequence().ok()?.iter().find_map(|part| match &part.content {
        BerObjectContent::GeneralizedTime(date) => {
            date.to_datetime().ok().map(|date| Timestamp::from_unix(date.unix_timestamp()))
        }
        _ => None,
    })
}
