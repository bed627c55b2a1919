//! A simulated STS, as far as AssumeRole goes: its Query API on loopback, with trust policies that demand an external id.
//!
//! What it gives out is known to every simulated KMS that shares its [`Sessions`]: temporary credentials of the role's
//! account, with a session token that must be sent and signed along.

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::StatusCode;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    kms::{Secret, WallClock},
    query::{QueryCall, QueryFault, QuerySettings, Refusal, Server, Service, element, holding},
};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// How long a session lives: AWS's default.
const LIFETIME: Duration = Duration::from_hours(1);

/// Temporary credentials that were given out.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) access_key_id: String,
    pub(super) secret: Secret,
    pub(super) token: String,
    pub(super) account_id: String,
    pub(super) ends: SystemTime,
}

/// The temporary credentials that were given out, as the services know them that are called with them.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<Vec<Session>>>);

impl Sessions {
    pub(super) fn find(&self, access_key_id: &str) -> Option<Session> {
        self.lock().iter().find(|session| session.access_key_id == access_key_id).cloned()
    }

    /// Ends every session at once, as if their time were over.
    pub fn end(&self) {
        self.lock().clear();
    }

    fn add(&self, session: Session) {
        self.lock().push(session);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A role with its trust policy.
#[derive(Clone, Debug)]
pub struct TrustedRole {
    /// Its ARN; its account is that of the sessions.
    pub arn: String,
    /// What the trust policy demands as `sts:ExternalId`, if it demands one.
    pub external_id: Option<String>,
}

/// A simulated STS. Dropping it stops it.
pub struct SandboxSts {
    server: Server<Sts>,
}

struct Sts {
    roles: Vec<TrustedRole>,
    /// ARNs of the roles that nobody may assume now.
    denied: Mutex<BTreeSet<String>>,
    sessions: Sessions,
    clock: WallClock,
}

impl fmt::Debug for SandboxSts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxSts").field("endpoint", &self.endpoint_url()).finish_non_exhaustive()
    }
}

impl SandboxSts {
    /// Listens on a free port. `roles` may be assumed by whoever signs as the settings say.
    pub async fn start(settings: QuerySettings, roles: Vec<TrustedRole>, sessions: Sessions) -> io::Result<Self> {
        let clock = settings.clock.clone();
        let sts = Sts { roles, denied: Mutex::default(), sessions, clock };
        Ok(Self { server: Server::start(settings, sts).await? })
    }

    /// Where it is.
    pub fn endpoint_url(&self) -> String {
        self.server.endpoint_url()
    }

    /// From now on this role is denied to everybody, or no more. Sessions that were given out stay.
    pub fn deny(&self, arn: &str, denied: bool) {
        let mut set = self.server.service().denied.lock().unwrap_or_else(PoisonError::into_inner);
        if denied {
            set.insert(arn.to_owned());
        } else {
            set.remove(arn);
        }
    }

    /// Lets the next `times` calls of an action suffer a fault.
    pub fn inject(&self, action: &str, fault: QueryFault, times: u32) {
        self.server.inject(action, fault, times);
    }

    /// Every request, in order.
    pub fn history(&self) -> Vec<QueryCall> {
        self.server.history()
    }
}

impl Sts {
    /// The role, if its trust policy lets the caller in.
    fn trusted(&self, call: &QueryCall) -> Result<&TrustedRole, Refusal> {
        let arn = call.get("RoleArn").unwrap_or_default();
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner).contains(arn);
        let role = self.roles.iter().find(|role| role.arn == arn).filter(|_| !denied);
        let fits =
            |role: &&TrustedRole| role.external_id.is_none() || role.external_id.as_deref() == call.get("ExternalId");
        // STS does not say which of it: a role that is not there looks like one that does not trust the caller.
        role.filter(fits).ok_or_else(|| Refusal {
            status: StatusCode::FORBIDDEN,
            code: Self::DENIED,
            message: format!("User is not authorized to perform: sts:AssumeRole on resource: {arn}"),
        })
    }
}

impl Service for Sts {
    const SIGNING_NAME: &'static str = "sts";
    const DENIED: &'static str = "AccessDenied";
    const THROTTLED: (StatusCode, &'static str) = (StatusCode::BAD_REQUEST, "Throttling");
    const UNSIGNED: &'static str = "SignatureDoesNotMatch";

    fn answer(&self, call: &QueryCall) -> Result<String, Refusal> {
        if call.action != "AssumeRole" {
            let message = format!("Could not find operation {} for version 2011-06-15", call.action);
            return Err(Refusal { status: StatusCode::BAD_REQUEST, code: "InvalidAction", message });
        }
        let role = self.trusted(call)?;
        let name = call.get("RoleSessionName").unwrap_or_default();
        let digits = |number: u64| format!("{number:016X}");
        let session = Session {
            access_key_id: format!("ASIA{}", digits(rand::random())),
            secret: Secret::new(format!("{}{}", digits(rand::random()), digits(rand::random()))),
            token: format!("SandboxSessionToken{}", digits(rand::random())),
            account_id: role.arn.split(':').nth(4).unwrap_or_default().to_owned(),
            ends: (self.clock)() + LIFETIME,
        };
        let ends = OffsetDateTime::from(session.ends).format(&Rfc3339).unwrap_or_default();
        let credentials = holding(
            "Credentials",
            [
                element("AccessKeyId", &session.access_key_id),
                element("SecretAccessKey", session.secret.expose()),
                element("SessionToken", &session.token),
                element("Expiration", &ends),
            ],
        );
        let assumed = role.arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
        let user = holding(
            "AssumedRoleUser",
            [
                element("AssumedRoleId", &format!("AROASANDBOXROLEEXAMPLE:{name}")),
                element("Arn", &format!("{assumed}/{name}")),
            ],
        );
        self.sessions.add(session);
        let result = holding("AssumeRoleResult", [credentials, user]);
        let metadata = holding("ResponseMetadata", [element("RequestId", "c6104cbe-af31-11e0-8154-EXAMPLE")]);
        Ok(format!("<AssumeRoleResponse xmlns=\"{NAMESPACE}\">{result}{metadata}</AssumeRoleResponse>"))
    }

    fn refusal(code: &str, message: &str) -> String {
        let error = holding("Error", [element("Type", "Sender"), element("Code", code), element("Message", message)]);
        let request = element("RequestId", "c6104cbe-af31-11e0-8154-EXAMPLE");
        format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{error}{request}</ErrorResponse>")
    }
}
