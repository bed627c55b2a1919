//! The HTTP side: DescribeClusters in AWS JSON 1.1.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::cluster::{Cluster, Clusters, Hsm};
use crate::sandbox::kms::{Failure, Secret, Verifier, WallClock};

/// The most of a request that is read.
const MAX_REQUEST: usize = 16 * 1024;

/// How long a caller may take for its head, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections are served at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;

/// How many requests are remembered; the oldest go first.
const MAX_CALLS: usize = 1024;

/// `MaxResults` where the caller names none, and at most.
const PAGE: usize = 25;

/// Where a simulated CloudHSM listens and who may call it.
#[derive(Clone)]
pub struct CloudHsmSettings {
    /// Where to listen; port 0 picks a free one. Loopback only.
    pub bind: SocketAddr,
    /// The Region in signatures.
    pub region: String,
    /// The access key id that callers must sign with.
    pub access_key_id: String,
    /// The secret access key that callers must sign with.
    pub secret_access_key: Secret,
    /// What exists.
    pub clusters: Clusters,
    /// The wall clock.
    pub clock: WallClock,
}

impl CloudHsmSettings {
    /// Region `us-east-1` and a free port.
    pub fn new(clusters: Clusters, clock: WallClock, access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            region: "us-east-1".to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Secret::new(secret_access_key),
            clusters,
            clock,
        }
    }
}

/// What the simulated CloudHSM can be told to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudHsmFault {
    /// `AccessDeniedException`, 400: the caller's policy lacks `cloudhsm:DescribeClusters`.
    AccessDenied,
    /// `CloudHsmAccessDeniedException`, 400: the same in CloudHSM's own words.
    OwnAccessDenied,
    /// `ThrottlingException`, 400.
    Throttling,
    /// `CloudHsmInternalFailureException`, 500.
    Internal,
    /// A 503 without a body.
    Unavailable,
    /// 200 with a body that is no JSON.
    Garbage,
    /// The connection is closed without an answer.
    ReplyLost,
    /// Every page promises another one.
    EndlessPages,
    /// The clusters come without their state.
    Stateless,
    /// The clusters come without their certificates.
    NoCertificates,
    /// Other clusters come than were asked for.
    OthersClusters,
}

/// The simulated CloudHSM could not be started.
#[derive(Debug, thiserror::Error)]
pub enum CloudHsmStartError {
    /// The address is not on loopback, and the sandbox is not for others.
    #[error("the simulated CloudHSM listens on loopback only, not on {0}; choose an address in 127.0.0.0/8")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("the simulated CloudHSM cannot listen on {address}; choose another address or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

/// What changes while it runs.
#[derive(Debug, Default)]
struct State {
    faults: VecDeque<(CloudHsmFault, u32)>,
    calls: VecDeque<Value>,
}

impl State {
    /// The fault of this call, used up by one.
    fn take(&mut self) -> Option<CloudHsmFault> {
        let (fault, left) = self.faults.front_mut()?;
        let fault = *fault;
        // `u32::MAX` stands for "until cleared".
        if *left != u32::MAX {
            *left -= 1;
        }
        if *left == 0 {
            self.faults.pop_front();
        }
        Some(fault)
    }
}

struct CloudHsm {
    state: Mutex<State>,
    clusters: Clusters,
    verifier: Verifier,
    clock: WallClock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl CloudHsm {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A simulated CloudHSM that listens on loopback. Dropping it stops it.
pub struct SandboxCloudHsm {
    hsm: Arc<CloudHsm>,
    address: SocketAddr,
}

impl Drop for SandboxCloudHsm {
    fn drop(&mut self) {
        self.hsm.stop.cancel();
    }
}

impl SandboxCloudHsm {
    /// Starts a simulated CloudHSM.
    pub async fn start(settings: CloudHsmSettings) -> Result<Self, CloudHsmStartError> {
        if !settings.bind.ip().is_loopback() {
            return Err(CloudHsmStartError::NotLoopback(settings.bind));
        }
        let failed = |source| CloudHsmStartError::Listen { address: settings.bind, source };
        let listener = TcpListener::bind(settings.bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let hsm = Arc::new(CloudHsm {
            state: Mutex::default(),
            clusters: settings.clusters,
            verifier: Verifier {
                access_key_id: settings.access_key_id,
                secret: settings.secret_access_key,
                region: settings.region,
                service: "cloudhsm",
            },
            clock: settings.clock,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        hsm.tasks.spawn(serve(Arc::clone(&hsm), listener));
        Ok(Self { hsm, address })
    }

    /// The endpoint to give to an SDK.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the next `times` calls suffer a fault, after those already waiting; `u32::MAX` until
    /// [`clear_faults`](Self::clear_faults).
    pub fn inject(&self, fault: CloudHsmFault, times: u32) {
        if times > 0 {
            self.hsm.lock().faults.push_back((fault, times));
        }
    }

    /// Forgets every fault.
    pub fn clear_faults(&self) {
        self.hsm.lock().faults.clear();
    }

    /// The parameters of the latest DescribeClusters calls whose signature was right, in order.
    pub fn calls(&self) -> Vec<Value> {
        self.hsm.lock().calls.iter().cloned().collect()
    }
}

/// The connection is closed without an answer. hyper closes it when the service returns an error.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox withholds its answer")]
struct Withheld;

type Reply = Response<Full<Bytes>>;

async fn serve(hsm: Arc<CloudHsm>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = hsm.stop.cancelled() => return,
            accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
        };
        let (Ok(place), Ok((socket, _))) = accepted else { return };
        let (served, stop) = (Arc::clone(&hsm), hsm.stop.clone());
        hsm.tasks.spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&served), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                // How a connection ends is the caller's affair.
                _ = connection => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn handle(hsm: Arc<CloudHsm>, request: Request<Incoming>) -> Result<Reply, Withheld> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_REQUEST).collect()).await;
    let body = body.map_err(|_| Withheld)?.map_err(|_| Withheld)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if head.method != Method::POST || target != Some("BaldrApiService.DescribeClusters") {
        return fail(&Failure::new("UnknownOperationException", "The operation is not known to this endpoint."));
    }
    if let Err(failure) = hsm.verifier.verify(&head, &body, (hsm.clock)()) {
        return fail(&failure);
    }
    let Some(parameters) = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object) else {
        return fail(&Failure::new("SerializationException", "The request is not a JSON object."));
    };
    let fault = {
        let mut state = hsm.lock();
        if state.calls.len() == MAX_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(parameters.clone());
        state.take()
    };
    match fault {
        Some(CloudHsmFault::AccessDenied) => {
            let message = "User is not authorized to perform: cloudhsm:DescribeClusters";
            fail(&Failure::new("AccessDeniedException", message))
        }
        Some(CloudHsmFault::OwnAccessDenied) => {
            fail(&Failure::new("CloudHsmAccessDeniedException", "The requester does not have permission."))
        }
        Some(CloudHsmFault::Throttling) => fail(&Failure::new("ThrottlingException", "Rate exceeded")),
        Some(CloudHsmFault::Internal) => {
            let failure = Failure::new("CloudHsmInternalFailureException", "An internal error occurred.");
            fail(&Failure { status: StatusCode::INTERNAL_SERVER_ERROR, ..failure })
        }
        Some(CloudHsmFault::Unavailable) => reply(StatusCode::SERVICE_UNAVAILABLE, String::new()),
        Some(CloudHsmFault::Garbage) => reply(StatusCode::OK, "<html>not JSON</html>".to_owned()),
        Some(CloudHsmFault::ReplyLost) => Err(Withheld),
        odd => match describe(&hsm.clusters, &parameters, odd) {
            Ok(answer) => reply(StatusCode::OK, answer.to_string()),
            Err(failure) => fail(&failure),
        },
    }
}

/// DescribeClusters: filters by id, state and VPC are ANDed, the values of one filter ORed.
fn describe(clusters: &Clusters, parameters: &Value, fault: Option<CloudHsmFault>) -> Result<Value, Failure> {
    let invalid = |message: &str| Failure::new("CloudHsmInvalidRequestException", message.to_owned());
    let mut shown = clusters.shown();
    for (name, values) in parameters["Filters"].as_object().into_iter().flatten() {
        let values: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match name.as_str() {
            "clusterIds" if fault == Some(CloudHsmFault::OthersClusters) => {
                shown.retain(|cluster| !values.contains(&cluster.id.as_str()));
            }
            "clusterIds" => shown.retain(|cluster| values.contains(&cluster.id.as_str())),
            "states" => shown.retain(|cluster| values.contains(&cluster.state.as_str())),
            _ => return Err(invalid("The filter is not known.")),
        }
    }
    let start = match parameters["NextToken"].as_str() {
        None => 0,
        Some(token) => token.parse().map_err(|_| invalid("The token is not valid."))?,
    };
    let most = parameters["MaxResults"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
    let page: Vec<Value> = shown.iter().skip(start).take(most).map(|cluster| entry(cluster, fault)).collect();
    let mut answer = json!({ "Clusters": page });
    let endless = fault == Some(CloudHsmFault::EndlessPages);
    if endless || shown.len() > start + most {
        answer["NextToken"] = json!((start + most).to_string());
    }
    Ok(answer)
}

/// One cluster, with the members that callers of ours may be tempted to rely on.
fn entry(cluster: &Cluster, fault: Option<CloudHsmFault>) -> Value {
    let hsm = |hsm: &Hsm| {
        json!({
            "HsmId": hsm.id,
            "ClusterId": cluster.id,
            "AvailabilityZone": hsm.zone,
            "SubnetId": cluster.subnets.get(&hsm.zone),
            "State": hsm.state,
        })
    };
    let mut entry = json!({
        "ClusterId": cluster.id,
        "State": cluster.state,
        "Hsms": cluster.hsms.iter().map(hsm).collect::<Vec<_>>(),
        "HsmType": "hsm2m.medium",
        "Mode": "FIPS",
        "NetworkType": "IPV4",
        "SubnetMapping": cluster.subnets,
        "SecurityGroup": cluster.security_group,
        "VpcId": "vpc-0123456789abcdef0",
        "Certificates": { "ClusterCertificate": cluster.certificate },
    });
    let hidden = match fault {
        Some(CloudHsmFault::Stateless) => "State",
        Some(CloudHsmFault::NoCertificates) => "Certificates",
        _ => "",
    };
    if let Some(members) = entry.as_object_mut() {
        members.remove(hidden);
    }
    entry
}

fn fail(failure: &Failure) -> Result<Reply, Withheld> {
    reply(failure.status, failure.body().to_string())
}

fn reply(status: StatusCode, body: String) -> Result<Reply, Withheld> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    response.body(Full::from(body)).map_err(|_| Withheld)
}
