//! Which update a request is: KMS has no idempotency token, and clients that lose patience ask again.
//!
//! The same request of the same credential is the same update as long as that is open; and, if it changed something, as
//! long as nobody was told how it ended. Once somebody was, a repetition is the same request only if the client says so
//! (SDKs number their calls, and repeat one under its own number). Everything else is a new request, which finds the key
//! store as it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::failure::Failure;
use super::{KmsCredential, Service, answer};
use crate::clock::Timestamp;
use crate::driver::UpdateRecord;
use crate::id::UpdateId;
use crate::journal::Idempotency;
use crate::key_store::ConnectionState;
use crate::update::Ending;

/// The number that SDKs give a call, the same in all attempts.
pub(super) const INVOCATION: &str = "amz-sdk-invocation-id";

/// For how long after its end an update answers the request that made it. Clients repeat for minutes, not for hours.
const ANSWERS_FOR: Duration = Duration::from_mins(15);

/// How many endings that were told are remembered.
const REMEMBERED: usize = 1_000;

/// More identical requests of one credential than this are a fault somewhere.
const MOST_REPETITIONS: u64 = 1 << 40;

/// The endings that somebody was told, with the number of the call.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<VecDeque<(UpdateId, Option<String>)>>);

impl Told {
    /// Remembers that the caller of `invocation` is told how the update ended.
    pub(super) fn remember(&self, update: UpdateId, invocation: Option<&str>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(known, _)| *known != update);
        told.push_front((update, invocation.map(ToOwned::to_owned)));
        told.truncate(REMEMBERED);
    }

    /// Whether the ending of this update is still an answer to the caller of `invocation`.
    fn answers(&self, update: UpdateId, invocation: Option<&str>) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.iter().find(|(known, _)| *known == update) {
            None => true,
            Some((_, known)) => known.is_some() && known.as_deref() == invocation,
        }
    }
}

/// Which update a request is.
pub(super) enum Same {
    /// This one.
    Earlier(Box<UpdateRecord>),
    /// A new one, to be recorded under this key.
    New(Idempotency),
}

/// Finds the update that this request has made before.
pub(super) async fn find(
    service: &Service,
    credential: &KmsCredential,
    digest: &str,
    invocation: Option<&str>,
) -> Result<Same, Failure> {
    let key = |number: u64| Idempotency {
        key: format!("kms/{}/{digest}/{number}", credential.principal.name),
        request_digest: digest.to_owned(),
    };
    let find = async |number| service.driver.find(&key(number)).await.map_err(|error| answer::not_submitted(&error));
    // Identical requests are numbered without gaps. Doubling, then halving, finds the last one in few looks.
    let (mut last, mut beyond) = (None, 1);
    while let Some(found) = find(beyond).await? {
        last = Some((beyond, found));
        if beyond > MOST_REPETITIONS {
            break;
        }
        beyond *= 2;
    }
    while let Some((number, _)) = last
        && beyond - number > 1
    {
        let middle = number.midpoint(beyond);
        match find(middle).await? {
            Some(found) => last = Some((middle, found)),
            None => beyond = middle,
        }
    }
    let Some((number, id)) = last else { return Ok(Same::New(key(1))) };
    let record = service.driver.get(id).await.map_err(|error| answer::not_read(&error))?;
    if still_answers(service, &record, invocation).await {
        return Ok(Same::Earlier(Box::new(Arc::unwrap_or_clone(record))));
    }
    Ok(Same::New(key(number + 1)))
}

async fn still_answers(service: &Service, record: &UpdateRecord, invocation: Option<&str>) -> bool {
    let Some(ending) = record.state.ending() else { return true };
    let ended = record.events.last().map_or(Timestamp::from_unix(0), |recorded| recorded.at);
    if service.clock.now() > ended.plus(ANSWERS_FOR) || !service.told.answers(record.id(), invocation) {
        return false;
    }
    match ending {
        // To say that it is done is true only as long as it is.
        Ending::Verified | Ending::Unproven { .. } => {
            let plan = record.state.plan();
            service.reader.key_store(&plan.key_store).await.is_ok_and(|found| {
                let connected = found.state == ConnectionState::Connected;
                plan.standing(&found).shows_new() && connected == plan.ends_connected()
            })
        }
        Ending::RolledBack { .. } | Ending::Stuck { .. } => true,
        // Nothing was changed, so nothing is changed twice: look again.
        Ending::Blocked { .. } | Ending::Refused { .. } | Ending::Abandoned { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    #[test]
    fn an_ending_is_told_once_and_again_to_whom_it_was_told() {
        let ids = IdSource::from_seed(1);
        let new = || UpdateId::new(&ids, Timestamp::from_unix(1_000_000));
        let (one, other, told) = (new(), new(), Told::default());
        assert!(told.answers(one, None) && told.answers(one, Some("a")));
        told.remember(one, Some("a"));
        assert!(told.answers(one, Some("a")));
        assert!(!told.answers(one, Some("b")) && !told.answers(one, None));
        told.remember(other, None);
        assert!(!told.answers(other, None), "without a number nobody knows whether it is the same call");
        for _ in 0..REMEMBERED {
            told.remember(new(), None);
        }
        assert!(told.answers(one, None), "forgotten");
    }
}
