//! Making a canary through a proxy that is healthy.

use aws_lc_rs::digest;

use super::super::{Candidate, gather};
use super::PATIENCE;
use super::lane::{ADDITIONAL_DATA, Lane};
use crate::check::{Problem, ProblemKind};
use crate::clock::Timestamp;
use crate::journal::Canary;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId};
use crate::probe::Prober;

/// Encrypts a random value with `key` through the candidate, and decrypts it again: a canary that does not survive that
/// would prove nothing later.
pub(in crate::preflight) async fn make(
    prober: &Prober,
    candidate: &Candidate,
    key_store: &CustomKeyStoreId,
    key: &ExternalKeyId,
    at: Timestamp,
) -> Result<Canary, Problem> {
    let malformed = || Problem::own(ProblemKind::Syntax, "the settings are not fit for the network");
    let target = candidate.target().ok_or_else(malformed)?;
    let addresses =
        gather::destinations(prober, &target, &candidate.connect_to, Some(candidate.connectivity), 1).await.addresses;
    let address = addresses.first().ok_or_else(|| Problem::target(ProblemKind::NoAddress, "there is no address"))?;
    let mut lane = Lane::new(prober, &target, *address, PATIENCE);
    let sealed = lane.encrypt(key).await.map_err(|trouble| trouble.problem)?;
    let back = lane.decrypt(key, &sealed.ciphertext, ADDITIONAL_DATA).await.map_err(|trouble| trouble.problem)?;
    if back.as_slice() != sealed.plaintext.as_slice() {
        return Err(Problem::target(
            ProblemKind::BrokenRoundTrip,
            "Decrypt gives another plaintext than was encrypted",
        ));
    }
    let mut plaintext_sha256 = [0; 32];
    plaintext_sha256.copy_from_slice(digest::digest(&digest::SHA256, sealed.plaintext.as_slice()).as_ref());
    Ok(Canary {
        key_store: key_store.clone(),
        endpoint: target.endpoint,
        path: target.path,
        key: key.clone(),
        at,
        ciphertext: sealed.ciphertext,
        additional_authenticated_data: ADDITIONAL_DATA.to_vec(),
        plaintext_sha256,
    })
}
