//! Round trips, and whether the candidate's keys are the current ones.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::lane::{ADDITIONAL_DATA, Lane, Sealed, Trouble};
use super::metadata::out_of_time;
use super::{PATIENCE, lane};
use crate::check::{CurrentProxy, Fault, KeyProofs, KeyTally, Problem, ProblemKind};
use crate::journal::Canary;
use crate::key_store::ExternalKeyId;
use crate::probe::{Destination, Prober, Target};
use crate::xks::ErrorName;

/// Everything that proofs are made with.
pub(super) struct Bench<'a> {
    pub(super) prober: &'a Prober,
    pub(super) target: &'a Target,
    pub(super) addresses: &'a [Destination],
    /// The current proxy and its addresses, if it is given.
    pub(super) current: Option<(Target, Vec<Destination>)>,
    /// What is known of it, asked or not.
    pub(super) known: CurrentProxy,
    pub(super) canaries: &'a [Canary],
    pub(super) tampering: bool,
    pub(super) until: Instant,
}

/// Proves keys at every address; one entry for each, in order, or none if there is no key to prove.
pub(super) async fn prove(bench: &Bench<'_>, keys: &[&ExternalKeyId], concurrency: usize) -> Vec<KeyProofs> {
    if keys.is_empty() {
        return Vec::new();
    }
    let queue = Mutex::new(keys.iter().copied());
    let workers = concurrency.clamp(1, keys.len());
    let parts = join_all((0..workers).map(|_| Worker::new(bench).work(&queue))).await;
    let mut whole = bench.blank(keys.len());
    for part in parts {
        for (proofs, found) in whole.iter_mut().zip(part) {
            add(proofs, found);
        }
    }
    whole
}

fn add(proofs: &mut KeyProofs, found: KeyProofs) {
    proofs.round_trip.add(found.round_trip);
    if let (Some(whole), Some(found)) = (&mut proofs.continuity, found.continuity) {
        whole.add(found);
    }
    if let (Some(whole), Some(found)) = (&mut proofs.continuity_back, found.continuity_back) {
        whole.add(found);
    }
    proofs.canary = proofs.canary.max(found.canary);
}

impl Bench<'_> {
    fn blank(&self, wanted: usize) -> Vec<KeyProofs> {
        let asked = self.current.is_some() || self.is_same();
        let blank = KeyProofs {
            round_trip: KeyTally::of(wanted),
            continuity: (asked || !self.canaries.is_empty()).then(|| KeyTally::of(wanted)),
            continuity_back: asked.then(|| KeyTally::of(wanted)),
            canary: None,
        };
        vec![blank; self.addresses.len()]
    }

    /// Whether the current proxy is the candidate itself.
    fn is_same(&self) -> bool {
        self.known == CurrentProxy::Same
    }

    /// The latest canary made with this key; they come newest first.
    fn canary(&self, key: &ExternalKeyId) -> Option<&Canary> {
        self.canaries.iter().find(|canary| canary.key == *key)
    }
}

/// Proves one key after the other, on connections of its own.
struct Worker<'a> {
    bench: &'a Bench<'a>,
    current: Option<Lane<'a>>,
    /// Why the current proxy is not asked any more, once it did not answer at all.
    silent: Option<Problem>,
    places: Vec<Lane<'a>>,
    proofs: Vec<KeyProofs>,
}

impl<'a> Worker<'a> {
    fn new(bench: &'a Bench<'a>) -> Self {
        let places = bench.addresses.iter().map(|address| lane(bench.prober, bench.target, *address)).collect();
        Self { bench, current: None, silent: None, places, proofs: bench.blank(0) }
    }

    async fn work<'k>(mut self, queue: &Mutex<impl Iterator<Item = &'k ExternalKeyId>>) -> Vec<KeyProofs> {
        loop {
            let Some(key) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return self.proofs };
            if Instant::now() >= self.bench.until {
                for proofs in &mut self.proofs {
                    proofs.round_trip.leave(out_of_time("test operations"));
                }
                return self.proofs;
            }
            self.prove(key).await;
        }
    }

    async fn prove(&mut self, key: &ExternalKeyId) {
        let from_current = self.encrypt_at_current(key).await;
        for place in 0..self.places.len() {
            let Some(lane) = self.places.get_mut(place) else { continue };
            let made = round_trip(lane, key, self.bench.tampering).await;
            let continued = match &made {
                Ok(_) => Some(continues(lane, key, &from_current, self.bench).await),
                Err(_) => None,
            };
            let back = match &made {
                Ok(sealed) => Some(self.decrypt_at_current(key, sealed, from_current.as_ref().err()).await),
                Err(_) => None,
            };
            let Some(proofs) = self.proofs.get_mut(place) else { continue };
            note(&mut proofs.round_trip, key, made.map(|_| ()));
            if let (Some(tally), Some(continued)) = (&mut proofs.continuity, continued) {
                note(tally, key, continued.map(|canary| proofs.canary = proofs.canary.max(canary)));
            }
            if let (Some(tally), Some(back)) = (&mut proofs.continuity_back, back) {
                note(tally, key, back);
            }
        }
    }

    /// What the current proxy makes of a random plaintext. It is tried at one address after the other.
    async fn encrypt_at_current(&mut self, key: &ExternalKeyId) -> Result<Sealed, Problem> {
        let Some((target, addresses)) = &self.bench.current else {
            return Err(Problem::own(ProblemKind::NoProof, self.bench.known.why_not_asked()));
        };
        if let Some(silent) = &self.silent {
            return Err(silent.clone());
        }
        if let Some(lane) = &mut self.current {
            return lane.encrypt(key).await.map_err(|trouble| trouble.problem);
        }
        let mut last =
            Problem::target(ProblemKind::NameNotFound, "its name leads from here to no address that it can have");
        for address in addresses {
            let mut lane = Lane::new(self.bench.prober, target, *address, PATIENCE);
            match lane.encrypt(key).await {
                Ok(sealed) => {
                    self.current = Some(lane);
                    return Ok(sealed);
                }
                Err(trouble) => last = trouble.problem,
            }
        }
        if self.current.is_none() && !matches!(last.kind, ProblemKind::NotFound | ProblemKind::UnusableKey) {
            self.silent = Some(last.clone());
        }
        Err(last)
    }

    async fn decrypt_at_current(
        &mut self,
        key: &ExternalKeyId,
        sealed: &Sealed,
        silence: Option<&Problem>,
    ) -> Result<(), Problem> {
        match (&mut self.current, silence) {
            (Some(lane), None) => {
                let decrypted = lane.decrypt(key, &sealed.ciphertext, ADDITIONAL_DATA).await;
                let right = decrypted.map(|plaintext| plaintext.as_slice() == sealed.plaintext.as_slice());
                same_material(right, "the current proxy does not decrypt what the candidate encrypts")
            }
            _ if self.bench.is_same() => Ok(()),
            (_, why) => Err(no_way_back(why)),
        }
    }
}

/// Encrypt and Decrypt at one place, and that changed additional data are refused.
async fn round_trip(lane: &mut Lane<'_>, key: &ExternalKeyId, tampering: bool) -> Result<Sealed, Problem> {
    let sealed = lane.encrypt(key).await.map_err(|trouble| trouble.problem)?;
    match lane.decrypt(key, &sealed.ciphertext, ADDITIONAL_DATA).await {
        Ok(plaintext) if plaintext.as_slice() == sealed.plaintext.as_slice() => {}
        Ok(_) => {
            let detail = "Decrypt gives another plaintext than was encrypted a moment ago";
            return Err(Problem::target(ProblemKind::BrokenRoundTrip, detail));
        }
        Err(Trouble { name: Some(ErrorName::InvalidCiphertext), .. }) => {
            let detail = "Decrypt refuses what Encrypt gave a moment ago (InvalidCiphertextException)";
            return Err(Problem::target(ProblemKind::BrokenRoundTrip, detail));
        }
        Err(trouble) => return Err(trouble.problem),
    }
    if tampering {
        let changed = [ADDITIONAL_DATA, b",changed=true"].concat();
        // Any refusal will do, and what is no answer has been judged above.
        if lane.decrypt(key, &sealed.ciphertext, &changed).await.is_ok() {
            let detail = "Decrypt accepts other additional data than Encrypt was given";
            return Err(Problem::target(ProblemKind::Unauthenticated, detail));
        }
    }
    Ok(sealed)
}

/// Decrypts at the candidate what the current proxy encrypts, and what it encrypted into the latest canary; tells when that
/// was made if it is the only proof.
async fn continues(
    lane: &mut Lane<'_>,
    key: &ExternalKeyId,
    from_current: &Result<Sealed, Problem>,
    bench: &Bench<'_>,
) -> Result<Option<crate::clock::Timestamp>, Problem> {
    let why = match from_current {
        Ok(sealed) => {
            let decrypted = lane.decrypt(key, &sealed.ciphertext, ADDITIONAL_DATA).await;
            let right = decrypted.map(|plaintext| plaintext.as_slice() == sealed.plaintext.as_slice());
            same_material(right, "the candidate does not decrypt what the current proxy encrypts")?;
            // Its name may lead to the candidate already: then both have the same keys, whichever those are, and only
            // what was encrypted earlier tells whether they are those of old.
            return match bench.canary(key) {
                Some(canary) => decrypts_canary(lane, key, canary).await.map(|()| None),
                None => Ok(None),
            };
        }
        Err(why) => why,
    };
    match bench.canary(key) {
        Some(canary) => decrypts_canary(lane, key, canary).await.map(|()| Some(canary.at)),
        None if bench.is_same() => Ok(None),
        None => Err(no_proof(Some(why))),
    }
}

async fn decrypts_canary(lane: &mut Lane<'_>, key: &ExternalKeyId, canary: &Canary) -> Result<(), Problem> {
    let decrypted = lane.decrypt(key, &canary.ciphertext, &canary.additional_authenticated_data).await;
    let right =
        decrypted.map(|plaintext| digest::digest(&digest::SHA256, &plaintext).as_ref() == canary.plaintext_sha256);
    let what =
        format!("the candidate does not decrypt what the current proxy encrypted into the canary of {}", canary.at);
    same_material(right, &what)
}

/// Whether a Decrypt elsewhere shows the same key material.
fn same_material(decrypted: Result<bool, Trouble>, what: &str) -> Result<(), Problem> {
    let how = match decrypted {
        Ok(true) => return Ok(()),
        Ok(false) => "it gives another plaintext",
        Err(Trouble { name: Some(ErrorName::InvalidCiphertext), .. }) => "InvalidCiphertextException",
        Err(trouble) => return Err(trouble.problem),
    };
    let detail = format!(
        "{what} ({how}): there is other key material under the same key id, and what is encrypted under the present one \
         would be lost"
    );
    Err(Problem::target(ProblemKind::DifferentKeys, detail))
}

fn no_proof(why: Option<&Problem>) -> Problem {
    let why = why.map(|problem| format!(" ({})", problem.detail)).unwrap_or_default();
    let detail =
        format!("the current proxy cannot be asked{why} and no canary of it is kept: nothing proves the same keys");
    Problem::own(ProblemKind::NoProof, detail)
}

/// A canary proves the way forward only: nobody but the current proxy could decrypt what the candidate encrypts.
fn no_way_back(why: Option<&Problem>) -> Problem {
    let why = why.map(|problem| format!(" ({})", problem.detail)).unwrap_or_default();
    let detail = format!(
        "the current proxy cannot be asked{why}: that it could decrypt what the candidate encrypts, for going back to it, is \
         not proven; whether the candidate has the present keys is told by key.continuity"
    );
    Problem::own(ProblemKind::NoProof, detail)
}

fn note(tally: &mut KeyTally, key: &ExternalKeyId, outcome: Result<(), Problem>) {
    match outcome {
        Ok(()) => tally.pass(),
        Err(problem) if problem.fault == Fault::Own => tally.leave(problem),
        Err(problem) => tally.fail(key, problem),
    }
}
