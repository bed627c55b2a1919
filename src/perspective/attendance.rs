//! Which perspectives answer: noted whenever one is asked, and looked at now and then while nobody asks.
//!
//! A perspective that is silent makes pre-flights inconclusive, which is seen when somebody wants to change a key store:
//! too late. So each is asked for something small that needs its leave, and no proxy is probed for that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{LARGEST, Perspective, Perspectives};
use crate::clock::{Clock, Timestamp};

/// From one look to the next.
pub const EVERY: Duration = Duration::from_mins(1);

/// For one look: the list of checks is there at once, or the way there is not fit for a pre-flight.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether and when perspectives answered, by name.
#[derive(Default)]
pub struct Attendance(Mutex<BTreeMap<String, Attended>>);

/// How it went when a perspective was last asked for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attended {
    /// Whether it gave an answer that counts.
    pub up: bool,
    /// When it last did; absent if never since the start.
    pub answered_at: Option<Timestamp>,
}

impl Attendance {
    /// This one was asked, and gave an answer that counts, or none.
    pub fn note(&self, name: &str, up: bool, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answered_at = if up { Some(now) } else { all.get(name).and_then(|before| before.answered_at) };
        all.insert(name.to_owned(), Attended { up, answered_at });
    }

    /// Of these, each that was asked once at least; whatever else is known of is forgotten.
    pub fn of(&self, perspectives: Option<&Perspectives>) -> Vec<(String, Attended)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| perspectives.is_some_and(|known| known.all.iter().any(|one| one.name == *name)));
        all.iter().map(|(name, attended)| (name.clone(), *attended)).collect()
    }

    /// Looks at whoever is a perspective at the moment, again and again until `stop`.
    pub async fn keep(
        &self,
        perspectives: impl Fn() -> Option<Perspectives> + Send,
        clock: &dyn Clock,
        every: Duration,
        stop: CancellationToken,
    ) {
        let mut turns = tokio::time::interval(every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(turns.tick()).await.is_some() {
            let Some(Perspectives { all, .. }) = perspectives() else { continue };
            let looks = all.iter().map(|perspective| async move {
                let answer = tokio::time::timeout(LIMIT, perspective.lets_us_in()).await;
                let why = match answer {
                    Ok(Ok(())) => None,
                    Ok(Err(why)) => Some(why),
                    Err(_) => Some(format!("no answer within {} s", LIMIT.as_secs())),
                };
                if let Some(why) = &why {
                    tracing::debug!(perspective = perspective.name, why, "another perspective is silent");
                }
                self.note(&perspective.name, why.is_none(), clock.now());
            });
            if stop.run_until_cancelled(join_all(looks)).await.is_none() {
                return;
            }
        }
    }
}

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attendance").field(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).finish()
    }
}

impl Perspective {
    /// Whether it is there and would probe for us: it is asked to probe nothing, which it says is too little to whoever
    /// may ask, and to nobody else. Whether it is the right one only its reports tell.
    async fn lets_us_in(&self) -> Result<(), String> {
        let request = self.peer.request(Method::POST, "/v1/preflights").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from_static(b"{}"))).map_err(|error| error.to_string())?;
        let answer = self.peer.call(request, LARGEST).await.map_err(|error| crate::chain::Chain(&error).to_string())?;
        match answer.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Ok(()),
            status => Err(format!("it answers {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_outlives_silence() {
        let attendance = Attendance::default();
        let at = Timestamp::from_unix;
        attendance.note("a", false, at(1));
        attendance.note("a", true, at(2));
        attendance.note("a", false, at(3));
        let noted = attendance.0.lock().unwrap().get("a").copied();
        assert_eq!(noted, Some(Attended { up: false, answered_at: Some(at(2)) }));
        assert!(attendance.of(None).is_empty(), "it is no perspective any more");
    }
}
