//! What a row says, and the words to write one.

use std::pin::Pin;

use serde_json::Value;
use xks_preflight::sandbox::ec2::SandboxEc2;
use xks_preflight::sandbox::elbv2::SandboxElbv2;

/// Something that is wrong (or odd, and permitted), and what must come of it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// What is wrong: the text of a sandbox misbehaviour for [`How::Proxy`] and [`How::SecondAddress`], else words.
    pub(crate) fault: &'static str,
    /// How it is brought about and looked at.
    pub(crate) how: How,
    /// More arguments of `check`, or whatever the runner makes of them; see `Stage::check` for the places it fills in.
    pub(crate) arguments: &'static [&'static str],
    /// What must come of it.
    pub(crate) expected: Expected,
}

/// How a row is run.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// `check` against one proxy that misbehaves as `fault` says.
    Proxy,
    /// `check` against two addresses; the proxy at the second misbehaves as `fault` says, the first is well.
    SecondAddress,
    /// `check` against a healthy proxy, with arguments that are wrong.
    Values,
    /// `check` of this name through the sandbox's name server, with nowhere else to connect.
    Name(&'static str),
    /// A pre-flight behind a VPC endpoint service that this function has spoiled.
    Service(fn(&SandboxEc2, &SandboxElbv2)),
    /// By a function of any test module. It gets the row, sets its stage and gives what it saw.
    By(Runner),
}

/// What runs a row of another kind.
pub(crate) type Runner = fn(&'static Row) -> Pin<Box<dyn Future<Output = Seen> + Send>>;

/// What a run gave.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The exit code, where a process was run.
    pub(crate) exit: Option<i32>,
    /// The report in its contracted form.
    pub(crate) report: Value,
}

/// What must come of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// Verdict `blocked`: this check fails with this kind of problem, and KMS would do so.
    Blocked(&'static str, &'static str, Kms),
    /// Verdict `inconclusive`, for this check and problem.
    Inconclusive(&'static str, &'static str, Kms),
    /// Verdict `ready`, and this check of level should or advice fails with this kind of problem.
    Warned(&'static str, &'static str),
    /// Verdict `ready` and no finding at all: odd, and permitted.
    Permitted,
}

/// What KMS would do: the exception of UpdateCustomKeyStore and the ConnectionErrorCode; `None` where no AWS source
/// says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kms {
    pub(crate) exception: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
}

const fn kms(exception: &'static str, code: &'static str) -> Kms {
    Kms { exception: Some(exception), code: Some(code) }
}

/// An exception of UpdateCustomKeyStore that has no ConnectionErrorCode beside it.
pub(crate) const fn raises(exception: &'static str) -> Kms {
    Kms { exception: Some(exception), code: None }
}

/// No AWS source says, or KMS would not notice.
pub(crate) const UNSAID: Kms = Kms { exception: None, code: None };
pub(crate) const NOT_REACHABLE: Kms = kms("XksProxyUriUnreachableException", "XKS_PROXY_NOT_REACHABLE");
pub(crate) const TIMED_OUT: Kms = kms("XksProxyUriUnreachableException", "XKS_PROXY_TIMED_OUT");
pub(crate) const INVALID_TLS: Kms = kms("XksProxyUriUnreachableException", "XKS_PROXY_INVALID_TLS_CONFIGURATION");
pub(crate) const INVALID_RESPONSE: Kms = kms("XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE");
pub(crate) const INVALID_CONFIGURATION: Kms =
    kms("XksProxyInvalidConfigurationException", "XKS_PROXY_INVALID_CONFIGURATION");
pub(crate) const INCORRECT_CREDENTIAL: Kms =
    kms("XksProxyIncorrectAuthenticationCredentialException", "INVALID_CREDENTIALS");
pub(crate) const NOT_FOUND: Kms =
    kms("XksProxyVpcEndpointServiceNotFoundException", "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND");
pub(crate) const INVALID: Kms =
    kms("XksProxyVpcEndpointServiceInvalidConfigurationException", "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION");
pub(crate) const CLUSTER_NOT_FOUND: Kms = kms("CloudHsmClusterNotFoundException", "CLUSTER_NOT_FOUND");
pub(crate) const INSUFFICIENT_HSMS: Kms =
    kms("CloudHsmClusterInvalidConfigurationException", "INSUFFICIENT_CLOUDHSM_HSMS");
pub(crate) const SUBNET_NOT_FOUND: Kms = kms("CloudHsmClusterInvalidConfigurationException", "SUBNET_NOT_FOUND");
pub(crate) const INVALID_CLUSTER: Kms = raises("CloudHsmClusterInvalidConfigurationException");
pub(crate) const ACCESS_DENIED: Kms = Kms { exception: None, code: Some("XKS_PROXY_ACCESS_DENIED") };
/// The error names whose ConnectionErrorCode no AWS source tells.
pub(crate) const UNREACHABLE: Kms = raises("XksProxyUriUnreachableException");
pub(crate) const BAD_RESPONSE: Kms = raises("XksProxyInvalidResponseException");
pub(crate) const VALIDATION: Kms = raises("ValidationException");

/// KMS would refuse.
pub(crate) const fn blocked(check: &'static str, problem: &'static str, kms: Kms) -> Expected {
    Expected::Blocked(check, problem, kms)
}

/// It could not be told.
pub(crate) const fn inconclusive(check: &'static str, problem: &'static str, kms: Kms) -> Expected {
    Expected::Inconclusive(check, problem, kms)
}

/// KMS accepts it, and it is worth a word.
pub(crate) const fn warned(check: &'static str, problem: &'static str) -> Expected {
    Expected::Warned(check, problem)
}

/// A proxy that misbehaves so.
pub(crate) const fn proxy(fault: &'static str, expected: Expected) -> Row {
    Row { fault, how: How::Proxy, arguments: &[], expected }
}

/// The second of two addresses misbehaves so.
pub(crate) const fn second_address(fault: &'static str, expected: Expected) -> Row {
    Row { fault, how: How::SecondAddress, arguments: &[], expected }
}

/// A healthy proxy, and wrong values.
pub(crate) const fn values(fault: &'static str, arguments: &'static [&'static str], expected: Expected) -> Row {
    Row { fault, how: How::Values, arguments, expected }
}

/// A name that the sandbox's name server answers for.
pub(crate) const fn name(fault: &'static str, host: &'static str, expected: Expected) -> Row {
    Row { fault, how: How::Name(host), arguments: &[], expected }
}

/// Anything else, run by a function of any test module.
pub(crate) const fn run_by(runner: Runner, fault: &'static str, expected: Expected) -> Row {
    Row { fault, how: How::By(runner), arguments: &[], expected }
}

impl Row {
    /// The same with more arguments.
    pub(crate) const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }
}

impl Expected {
    /// The verdict in the report.
    pub(crate) fn verdict(&self) -> &'static str {
        match self {
            Self::Blocked(..) => "blocked",
            Self::Inconclusive(..) => "inconclusive",
            Self::Warned(..) | Self::Permitted => "ready",
        }
    }

    /// The exit code that the verdict gives.
    pub(crate) fn exit(&self) -> i32 {
        match self {
            Self::Blocked(..) => 1,
            Self::Inconclusive(..) => 3,
            Self::Warned(..) | Self::Permitted => 0,
        }
    }

    /// The check that says so and the kind of problem.
    pub(crate) fn finding(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Blocked(check, problem, _) | Self::Inconclusive(check, problem, _) | Self::Warned(check, problem) => {
                Some((check, problem))
            }
            Self::Permitted => None,
        }
    }

    /// What KMS would do.
    pub(crate) fn kms(&self) -> Kms {
        match self {
            Self::Blocked(_, _, kms) | Self::Inconclusive(_, _, kms) => *kms,
            Self::Warned(..) | Self::Permitted => UNSAID,
        }
    }

    /// Whether that is what came of it; else what was wrong.
    pub(crate) fn compare(&self, seen: &Seen) -> Result<(), String> {
        let report = &seen.report;
        let mut wrong = Vec::new();
        if report["verdict"] != self.verdict() {
            wrong.push(format!("verdict {}", report["verdict"]));
        }
        if let Some(exit) = seen.exit.filter(|exit| *exit != self.exit()) {
            wrong.push(format!("exit {exit}"));
        }
        let told = |name: &str| report["kms"][name].as_str().map(ToOwned::to_owned);
        let (exception, code) = (told("exception"), told("connection_error_code"));
        if (exception.as_deref(), code.as_deref()) != (self.kms().exception, self.kms().code) {
            wrong.push(format!("KMS {exception:?} {code:?}"));
        }
        let failures: Vec<&Value> = seen.findings().filter(|finding| is_failure(finding)).collect();
        let shown =
            || failures.iter().map(|f| format!("{} {}", f["check"], f["problem"])).collect::<Vec<_>>().join(", ");
        match self.finding() {
            Some((check, problem)) => match failures.iter().find(|f| f["check"] == check && f["problem"] == problem) {
                None => wrong.push(format!("fails instead: {}", shown())),
                Some(finding) if finding["remedy"].as_str().is_none_or(str::is_empty) => {
                    wrong.push("no remedy".to_owned());
                }
                Some(_) => {}
            },
            None if !failures.is_empty() => wrong.push(format!("fails: {}", shown())),
            None => {}
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

/// Failed, or could not be told for a fault of ours.
fn is_failure(finding: &Value) -> bool {
    finding["outcome"] == "failed" || finding["outcome"] == "own_fault"
}

impl Seen {
    /// The report's findings.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Value> {
        self.report["findings"].as_array().into_iter().flatten()
    }
}
