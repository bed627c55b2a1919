//! What the judges of refusals have in common: which answers refuse, which carry out, and which tell nothing.

use std::fmt;

use super::{Judgement, each_address, failed, not_applicable, passed, untold, untried};
use crate::check::{Deviation, Evidence, ExchangeEvidence, Outcome, Problem, ProblemKind, Stage, Trial};
use crate::xks::{ErrorName, Refusal};

/// How the specification wants a request to be refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct RightAnswer {
    pub(super) status: u16,
    /// `None` where any body will do.
    pub(super) name: Option<ErrorName>,
}

impl RightAnswer {
    pub(super) fn of(name: ErrorName) -> Self {
        Self { status: name.status(), name: Some(name) }
    }
}

impl fmt::Display for RightAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        self.name.map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// What an answer makes of a request, whatever was wrong with it.
pub(super) enum Answered {
    /// Refused: the words for it.
    Refused(String),
    /// Carried out.
    CarriedOut,
    /// The answer is about something else: the rate of requests, a failure inside, another place.
    SaysNothing(String),
}

/// Reads an answer. An `errorName` outranks the status, as it does for KMS.
pub(super) fn answered(exchange: &ExchangeEvidence) -> Answered {
    let status = exchange.status;
    let refusal = Refusal::parse(&exchange.body).ok();
    let words = match &refusal {
        Some(refusal) => format!("{status} {}", refusal.name_as_sent),
        None => status.to_string(),
    };
    if exchange.is_carried_out() {
        return Answered::CarriedOut;
    }
    let retryable = match refusal.and_then(|refusal| refusal.name) {
        Some(name) => name.retryable(),
        None => !(200..300).contains(&status) && (!(400..500).contains(&status) || matches!(status, 408 | 429)),
    };
    if retryable { Answered::SaysNothing(words) } else { Answered::Refused(words) }
}

/// Judges one deviation at every address. Where the right request was not carried out, nothing was tried.
pub(super) fn refused(evidence: &Evidence, deviation: Deviation, right: RightAnswer) -> Vec<Judgement> {
    let Some(refusals) = &evidence.refusals else {
        return super::whole(not_applicable("refusals were not asked for"));
    };
    each_address(evidence, |address| {
        let mut trials = refusals.trials.iter();
        let trial = trials.find(|trial| trial.address == address.address && trial.deviation == deviation);
        trial.map_or_else(|| untried(address, Stage::Sigv4), |trial| refused_once(trial, right))
    })
}

fn refused_once(trial: &Trial, right: RightAnswer) -> Outcome {
    let request = format!("a request {}", trial.deviation.meaning());
    let exchange = match &trial.answer {
        Ok(exchange) => exchange,
        Err(stop) => return untold(&stop.problem, &format!("whether {request} is refused")),
    };
    match answered(exchange) {
        Answered::Refused(words) if words == right.to_string() => passed(format!("refused with {words}")),
        Answered::Refused(words) => passed(format!("refused with {words}; the specification wants {right}")),
        Answered::CarriedOut => {
            let detail =
                format!("{request} is carried out with status {}; the right answer is {right}", exchange.status);
            failed(Problem::target(ProblemKind::NotRefused, detail))
        }
        Answered::SaysNothing(words) => {
            let problem = Problem::target(ProblemKind::ProxyError, format!("the answer is {words}"));
            untold(&problem, &format!("whether {request} is refused"))
        }
    }
}
