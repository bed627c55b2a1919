//! Judges of what other perspectives find.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{
    Evidence, OtherPerspective, Outcome, PerspectiveEvidence, Problem, ProblemKind, RemoteReport, Stage, Verdict, View,
};

/// How much of another daemon's words is repeated; the whole is in its own report.
const LONGEST_DETAIL: usize = 300;

/// The others that were asked, and those of them whose answer counts.
struct Heard<'e> {
    told: &'e PerspectiveEvidence,
    answers: Vec<(&'e OtherPerspective, &'e RemoteReport)>,
}

fn heard(evidence: &Evidence, judge: impl FnOnce(&Heard<'_>) -> Vec<Judgement>) -> Vec<Judgement> {
    let Some(told) = &evidence.perspectives else {
        return whole(not_applicable("no other perspective was asked"));
    };
    if told.others.asked.is_empty() {
        return whole(Outcome::NotReached { stopped_at: Stage::Input });
    }
    let counts = |other: &'_ OtherPerspective| other.answer.as_ref().ok().is_some();
    let answers = told.others.asked.iter().filter(|other| counts(other));
    let answers = answers.filter_map(|other| Some((other, other.answer.as_ref().ok()?))).collect();
    judge(&Heard { told, answers })
}

pub(in crate::check) fn answers(evidence: &Evidence) -> Vec<Judgement> {
    heard(evidence, |heard| {
        let asked = &heard.told.others.asked;
        let silent = asked.iter().filter_map(|other| Some((other, other.answer.as_ref().err()?)));
        let told: Vec<String> =
            silent.clone().map(|(other, problem)| format!("{}: {}", other.name, problem.detail)).collect();
        let kind = silent.map(|(_, problem)| problem.kind).next();
        whole(match kind {
            None => passed(format!("all {} answered", asked.len())),
            // A warning, and no fault of ours that would keep us from telling: what that means is the quorum's matter.
            Some(kind) => failed(Problem::path(kind, told.join("; "))),
        })
    })
}

pub(in crate::check) fn agreement(evidence: &Evidence) -> Vec<Judgement> {
    heard(evidence, |heard| {
        let own = &heard.told.own;
        let against = |verdict: Verdict| heard.answers.iter().find(|(_, report)| report.view.verdict == verdict);
        let blocked = against(Verdict::Blocked);
        // Whoever finds it blocked is believed; whoever finds it ready is contradicted by anybody who does not.
        let dissent = match own.verdict {
            Verdict::Ready | Verdict::Inconclusive => blocked,
            Verdict::Blocked => against(Verdict::Ready),
        };
        let Some((other, report)) = dissent else {
            let same = heard.answers.iter().filter(|(_, report)| report.view.verdict == own.verdict).count();
            return whole(passed(format!(
                "{} finds it {}, and so do {same} of {} others; none finds the contrary",
                own.perspective,
                own.verdict,
                heard.told.others.asked.len()
            )));
        };
        let mut detail = format!("{} {}; {} {}", own.perspective, finds(own), other.name, finds(&report.view));
        // Writing to a String cannot fail.
        let _ = write!(detail, "; its report: {}/preflights/{}", other.url, report.id);
        let problem = Problem::target(ProblemKind::Disagreement, detail);
        // KMS may come by the way of whoever finds it blocked.
        let kms = report.kms.clone().filter(|_| report.view.verdict == Verdict::Blocked);
        vec![Judgement { address: None, outcome: failed(problem), kms }]
    })
}

pub(in crate::check) fn quorum(evidence: &Evidence) -> Vec<Judgement> {
    heard(evidence, |heard| {
        let own = heard.told.own.verdict;
        let needed = heard.told.others.quorum;
        let with = |counts: &dyn Fn(Verdict) -> bool| {
            heard.answers.iter().filter(|(_, report)| counts(report.view.verdict)).count()
        };
        let conclusive = with(&|verdict| verdict != Verdict::Inconclusive);
        // While nothing can be told from here, there is nothing to agree with.
        let agreeing = if own == Verdict::Inconclusive { conclusive } else { with(&|verdict| verdict == own) };
        let all = heard.told.others.asked.len();
        let detail = format!("{agreeing} of {all} other perspectives find the same; {needed} are needed");
        whole(if agreeing >= needed {
            passed(detail)
        } else if conclusive < needed {
            let told = heard.told.others.asked.iter().filter_map(silence).collect::<Vec<_>>().join("; ");
            failed(Problem::own(ProblemKind::TooFewPerspectives, format!("{detail}. {told}")))
        } else {
            failed(Problem::target(ProblemKind::Disagreement, detail))
        })
    })
}

pub(in crate::check) fn same_proxy(evidence: &Evidence) -> Vec<Judgement> {
    heard(evidence, |heard| {
        let own = &heard.told.own;
        let views = || heard.answers.iter().map(|(_, report)| &report.view);
        if own.certificates.is_empty() || views().all(|view| view.certificates.is_empty()) {
            return whole(not_applicable("no certificates of two perspectives were seen"));
        }
        let other_certificates = |view: &&View| {
            !view.certificates.is_empty() && view.certificates.intersection(&own.certificates).next().is_none()
        };
        let other_fleet =
            |view: &&View| own.fleet.as_ref().zip(view.fleet.as_ref()).is_some_and(|(own, other)| own != other);
        let names = |strangers: Vec<&View>| {
            strangers
                .iter()
                .map(|view| view.perspective.as_str())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(", ")
        };
        let fleets: Vec<&View> = views().filter(other_fleet).collect();
        let certificates: Vec<&View> = views().filter(other_certificates).collect();
        whole(if !fleets.is_empty() {
            let detail = format!("another fleet than {} answers {}", of(own), names(fleets));
            failed(Problem::target(ProblemKind::DifferentFleet, detail))
        } else if !certificates.is_empty() {
            let detail =
                format!("other certificates than to {} are presented to {}", own.perspective, names(certificates));
            failed(Problem::target(ProblemKind::DifferentCertificates, detail))
        } else {
            passed("the same certificates, and the same fleet where one answered")
        })
    })
}

fn of(own: &View) -> String {
    let fleet = own.fleet.as_ref().map(|fleet| format!(" ({} {})", fleet.proxy.0, fleet.proxy.1)).unwrap_or_default();
    cut(&format!("{}'s{fleet}", own.perspective))
}

/// What a perspective found, to follow its name.
fn finds(view: &View) -> String {
    let Some(remark) = &view.decisive else { return format!("finds it {}", view.verdict) };
    let problem = remark.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
    let detail = if remark.detail.is_empty() { String::new() } else { format!(": {}", cut(&remark.detail)) };
    format!("finds it {} by {}{problem}{detail}", view.verdict, remark.check)
}

/// Why another perspective does not count, if it does not.
fn silence(other: &OtherPerspective) -> Option<String> {
    match &other.answer {
        Err(problem) => Some(format!("{}: {}", other.name, problem.detail)),
        Ok(report) => {
            (report.view.verdict == Verdict::Inconclusive).then(|| format!("{} {}", other.name, finds(&report.view)))
        }
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_DETAIL).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
