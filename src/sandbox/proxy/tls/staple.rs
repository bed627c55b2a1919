//! An OCSP response to staple, complete but for a signature worth the name.

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const GENERALIZED_TIME: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]Z");

/// `id-pkix-ocsp-basic` (RFC 6960, section 4.2.1), as a DER element.
const BASIC: [u8; 11] = [6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// `AlgorithmIdentifier` of ecdsa-with-SHA256.
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// A successful response that was produced an hour before `now`.
pub(super) fn response(now: SystemTime) -> Vec<u8> {
    let produced = OffsetDateTime::from(now - Duration::from_hours(1));
    // The format has nothing that a date could lack.
    let produced = produced.format(GENERALIZED_TIME).unwrap_or_default();
    let responder = element(0xa2, &element(4, &[0x5a; 20]));
    let data = element(0x30, &[responder, element(0x18, produced.as_bytes()), element(0x30, &[])].concat());
    let basic = element(0x30, &[&data[..], &ECDSA_WITH_SHA256, &element(3, &[0, 0])].concat());
    let typed = element(0x30, &[&BASIC[..], &element(4, &basic)].concat());
    element(0x30, &[element(10, &[0]), element(0xa0, &typed)].concat())
}

/// A DER element of at most 255 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let head: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    [head, content].concat()
}
