//! Certificates and OCSP answers that nobody foresaw.

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::{ocsp, read};
use crate::sandbox::pki::Pki;

fn good() -> &'static [u8] {
    static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    GOOD.get_or_init(|| {
        let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_000_000);
        Pki::new(now).unwrap().root_der().to_vec()
    })
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(noise in prop::collection::vec(any::<u8>(), 0..40), at in 0..2_000_usize, cut in any::<bool>()) {
        let at = at.min(good().len());
        let (before, after) = good().split_at(at);
        let after = if cut { &[][..] } else { &after[noise.len().min(after.len())..] };
        let spoiled = [before, &noise, after].concat();
        let certificate = read(&CertificateDer::from(spoiled.clone()));
        if cut && noise.is_empty() && at < good().len() {
            prop_assert!(certificate.is_err(), "what ends in the middle is no certificate");
        }
        if let Ok(certificate) = certificate {
            // The fingerprint is that of the very bytes, whatever they say of themselves.
            prop_assert_eq!(certificate.sha256, super::sha256(&spoiled));
        }
        let _ = ocsp::read(&spoiled);
        let _ = ocsp::read(&noise);
    }
}
