//! A simulated IAM, as far as SimulatePrincipalPolicy goes: its Query API on loopback.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::StatusCode;

use super::query::{QueryCall, QueryFault, QuerySettings, Refusal, Server, Service, element, holding};

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// A simulated IAM with one role, which may do everything that is not denied to it. Dropping it stops it.
pub struct SandboxIam {
    server: Server<Iam>,
}

struct Iam {
    role: String,
    /// `EvalDecision` by action, where it is not `allowed`.
    decisions: Mutex<BTreeMap<String, String>>,
}

impl fmt::Debug for SandboxIam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxIam").field("endpoint", &self.endpoint_url()).finish_non_exhaustive()
    }
}

impl SandboxIam {
    /// Listens on a free port. `role` is the ARN of the role that exists.
    pub async fn start(settings: QuerySettings, role: &str) -> io::Result<Self> {
        let iam = Iam { role: role.to_owned(), decisions: Mutex::default() };
        Ok(Self { server: Server::start(settings, iam).await? })
    }

    /// Where it is.
    pub fn endpoint_url(&self) -> String {
        self.server.endpoint_url()
    }

    /// From now on an action gets this `EvalDecision`: `allowed`, `implicitDeny` or `explicitDeny`.
    pub fn decide(&self, action: &str, decision: &str) {
        self.server.service().lock().insert(action.to_owned(), decision.to_owned());
    }

    /// Lets the next `times` calls of an action suffer a fault.
    pub fn inject(&self, action: &str, fault: QueryFault, times: u32) {
        self.server.inject(action, fault, times);
    }

    /// Forgets every fault that waits.
    pub fn clear_faults(&self) {
        self.server.clear_faults();
    }

    /// Every request, in order.
    pub fn history(&self) -> Vec<QueryCall> {
        self.server.history()
    }
}

impl Iam {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Iam {
    const SIGNING_NAME: &'static str = "iam";
    const DENIED: &'static str = "AccessDenied";
    const THROTTLED: (StatusCode, &'static str) = (StatusCode::BAD_REQUEST, "Throttling");
    const UNSIGNED: &'static str = "SignatureDoesNotMatch";

    fn answer(&self, call: &QueryCall) -> Result<String, Refusal> {
        if call.action != "SimulatePrincipalPolicy" {
            let message = format!("Could not find operation {} for version 2010-05-08", call.action);
            return Err(Refusal { status: StatusCode::BAD_REQUEST, code: "InvalidAction", message });
        }
        if call.get("PolicySourceArn") != Some(&self.role) {
            let message = format!("ARN {} cannot be found.", call.get("PolicySourceArn").unwrap_or_default());
            return Err(Refusal { status: StatusCode::NOT_FOUND, code: "NoSuchEntity", message });
        }
        let decisions = self.lock();
        let evaluation = |action: &str| {
            let decision = decisions.get(action).map_or("allowed", String::as_str);
            holding(
                "member",
                [
                    holding("MatchedStatements", []),
                    holding("MissingContextValues", []),
                    element("EvalResourceName", "*"),
                    element("EvalDecision", decision),
                    element("EvalActionName", action),
                ],
            )
        };
        let results = holding("EvaluationResults", call.list("ActionNames.member").into_iter().map(evaluation));
        let result = holding("SimulatePrincipalPolicyResult", [element("IsTruncated", "false"), results]);
        let metadata = holding("ResponseMetadata", [element("RequestId", "1cdb5b0a-4c15-11e5-b121-EXAMPLE")]);
        let answer = "SimulatePrincipalPolicyResponse";
        Ok(format!("<{answer} xmlns=\"{NAMESPACE}\">{result}{metadata}</{answer}>"))
    }

    fn refusal(code: &str, message: &str) -> String {
        let error = holding("Error", [element("Type", "Sender"), element("Code", code), element("Message", message)]);
        let request = element("RequestId", "1cdb5b0a-4c15-11e5-b121-EXAMPLE");
        format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{error}{request}</ErrorResponse>")
    }
}
