//! Judges of the keys behind a proxy.

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{Evidence, Problem, ProblemKind};

pub(in crate::check) fn enumerated(evidence: &Evidence) -> Vec<Judgement> {
    let Some(enumeration) = &evidence.keys.enumeration else {
        return whole(not_applicable("the keys of no key store were looked for"));
    };
    let found = enumeration.keys.len();
    whole(match (&enumeration.incomplete, enumeration.denied) {
        (None, 0) => passed(format!("{found} KMS keys are in the key store")),
        (None, denied) => failed(Problem::target(
            ProblemKind::AccessDenied,
            format!(
                "AWS denies DescribeKey of {denied} of the account's keys, any of which may be in the key store; {found} \
                 were found in it"
            ),
        )),
        (Some(problem), denied) => failed(Problem {
            detail: format!("{}; {found} keys of the key store were found, {denied} denied", problem.detail),
            ..problem.clone()
        }),
    })
}
