//! Whether the proxy accepts the credential that was probed, and the former one beside it: what a rotation goes by.

use serde::{Deserialize, Serialize};

use super::{Evidence, ExchangeEvidence, FormerSettings};
use crate::xks::{ErrorName, Refusal};

/// Whether the proxy accepts a credential, seen over every answer from every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// Every answer, from every address, carries the request out.
    Accepted,
    /// Every answer, from every address, refuses the signature.
    Refused,
    /// It is refused in some places and not in all.
    Differs,
    /// No refusal was seen, and not everywhere that it is accepted.
    Unclear,
}

impl Acceptance {
    /// The word in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Differs => "differs",
            Self::Unclear => "unclear",
        }
    }

    /// Whether it is refused anywhere.
    pub fn is_refused_somewhere(self) -> bool {
        matches!(self, Self::Refused | Self::Differs)
    }

    /// Made of one answer after the other: accepted, refused, or neither.
    fn of(answers: impl IntoIterator<Item = Option<bool>>) -> Self {
        let (mut accepted, mut refused, mut untold) = (false, false, false);
        for answer in answers {
            match answer {
                Some(true) => accepted = true,
                Some(false) => refused = true,
                None => untold = true,
            }
        }
        match (accepted, refused, untold) {
            (false, true, false) => Self::Refused,
            (_, true, _) => Self::Differs,
            (true, false, false) => Self::Accepted,
            (_, false, _) => Self::Unclear,
        }
    }
}

/// What one look told of both credentials of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CredentialsSeen {
    /// Of the one that KMS shall have, or has by now.
    pub new: Acceptance,
    /// Of the one that KMS has, or had before.
    pub former: Acceptance,
}

impl Evidence {
    /// What was seen of the credential that was probed with.
    pub fn acceptance(&self) -> Acceptance {
        let answers = self.addresses.iter().flat_map(|address| {
            let stopped = address.first_stop().is_some() || address.exchanges().next().is_none();
            address.exchanges().map(answer).chain(stopped.then_some(None))
        });
        // An address that was not looked at may say anything.
        Acceptance::of(answers.chain(self.left_out.iter().map(|_| None)))
    }

    /// What was seen of both credentials; `None` where the former one was not tried, or is no other.
    pub fn credentials(&self) -> Option<CredentialsSeen> {
        let FormerSettings::Tried(trial) = &self.signature.former else { return None };
        if !trial.other_credential {
            return None;
        }
        let unseen = || self.left_out.iter().map(|_| None);
        let former = self.addresses.iter().map(|address| {
            let tried = trial.answers.iter().find(|(at, _)| *at == address.address);
            tried.and_then(|(_, exchange)| answer(exchange.as_ref().ok()?))
        });
        Some(CredentialsSeen { new: self.acceptance(), former: Acceptance::of(former.chain(unseen())) })
    }
}

/// Whether an answer accepts or refuses the signature. Every other refusal may have come before anybody looked at it.
fn answer(exchange: &ExchangeEvidence) -> Option<bool> {
    if exchange.is_carried_out() {
        return Some(true);
    }
    let name = Refusal::parse(&exchange.body).ok().and_then(|refusal| refusal.name);
    (name == Some(ErrorName::AuthenticationFailed)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_is_never_overlooked_and_silence_never_accepts() {
        let (yes, no, untold) = (Some(true), Some(false), None);
        for (answers, expected) in [
            (vec![yes, yes], Acceptance::Accepted),
            (vec![no, no], Acceptance::Refused),
            (vec![yes, no], Acceptance::Differs),
            (vec![no, untold], Acceptance::Differs),
            (vec![yes, untold], Acceptance::Unclear),
            (vec![untold], Acceptance::Unclear),
            (vec![], Acceptance::Unclear),
        ] {
            assert_eq!(Acceptance::of(answers.clone()), expected, "{answers:?}");
        }
    }
}
