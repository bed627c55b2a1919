//! Simulated EC2 and Elastic Load Balancing with one service as KMS wants it, a proxy behind it, and who asks them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use xks_preflight::aws::{AwsCredentials, AwsVpc, AwsVpcSettings};
use xks_preflight::check::{AwsEvidence, Finding, Outcome, Report};
use xks_preflight::clock::SystemClock;
use xks_preflight::id::IdSource;
use xks_preflight::key_store::{AccountId, ConnectivityKind, Region};
use xks_preflight::preflight::{Candidate, CandidateKeys, OfferedCredential, Preflight, Thoroughness};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::sandbox::ec2::{Ec2State, SandboxEc2, Vpc, VpcEndpointService};
use xks_preflight::sandbox::elbv2::{NetworkLoadBalancer, SandboxElbv2};
use xks_preflight::sandbox::kms::Secret;
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};
use xks_preflight::sandbox::query::QuerySettings;

use crate::daemon::stage::{AWS_ACCESS_KEY_ID, AWS_SECRET};
use crate::peers::{ACCESS_KEY_ID, HOST, PATH, SECRET, wall_clock};

pub(crate) const SERVICE_ID: &str = "vpce-svc-0123456789abcdef0";
pub(crate) const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0";

fn settings() -> QuerySettings {
    QuerySettings {
        region: "us-east-1".to_owned(),
        access_key_id: AWS_ACCESS_KEY_ID.to_owned(),
        secret_access_key: Secret::new(AWS_SECRET),
        clock: wall_clock(),
    }
}

/// EC2 and Elastic Load Balancing with a service whose private DNS name is `host`.
pub(crate) async fn aws(host: &str) -> (SandboxEc2, SandboxElbv2) {
    let balancer = NetworkLoadBalancer::new("proxies");
    let state = Ec2State {
        services: vec![VpcEndpointService::new(SERVICE_ID, host, &balancer.arn())],
        vpcs: vec![Vpc { id: "vpc-1".to_owned(), dns_support: true, dns_hostnames: true }],
        ..Ec2State::default()
    };
    let elbv2 = SandboxElbv2::start(settings(), vec![balancer]).await.unwrap();
    (SandboxEc2::start(settings(), state).await.unwrap(), elbv2)
}

pub(crate) async fn reader(ec2: &str, elbv2: &str, secret: &str) -> AwsVpc {
    AwsVpc::new(AwsVpcSettings {
        region: Region::parse("us-east-1").unwrap(),
        ec2_endpoint_url: Some(ec2.to_owned()),
        elbv2_endpoint_url: Some(elbv2.to_owned()),
        credentials: Some(
            AwsCredentials {
                access_key_id: AWS_ACCESS_KEY_ID.to_owned(),
                secret_access_key: SecretString::from(secret.to_owned()),
                session_token: None,
            }
            .into(),
        ),
        timeout: Duration::from_secs(10),
        clock: Arc::new(SystemClock),
    })
    .await
}

/// Everything, and a healthy proxy.
pub(crate) struct Bench {
    pub(crate) ec2: SandboxEc2,
    pub(crate) elbv2: SandboxElbv2,
    pub(crate) reader: AwsVpc,
    candidate: Candidate,
    preflight: Preflight,
    _proxy: SandboxProxy,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let (ec2, elbv2) = aws(HOST).await;
        let reader = reader(&ec2.endpoint_url(), &elbv2.endpoint_url(), AWS_SECRET).await;
        let pki = Arc::new(Pki::new(wall_clock()()).unwrap());
        let mut proxy = ProxySettings::new(Arc::clone(&pki), wall_clock(), HOST, PATH);
        proxy.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
        let proxy = SandboxProxy::start(proxy).await.unwrap();
        let ids = Arc::new(IdSource::from_entropy());
        let prober = Prober::new(ProberSettings {
            trust: TrustRoots::laboratory(pki.root_pem().as_bytes()).unwrap(),
            client_certificate: None,
            resolver: ResolverSettings::System,
            egress: Egress::default(),
            clock: Arc::new(SystemClock),
            ids: Arc::clone(&ids),
        });
        let candidate = Candidate {
            endpoint: format!("https://{HOST}"),
            path: PATH.to_owned(),
            connectivity: ConnectivityKind::VpcEndpointService,
            vpc_endpoint_service: Some(SERVICE.to_owned()),
            vpc_endpoint_service_owner: None,
            region: Region::parse("us-east-1").unwrap(),
            credential: OfferedCredential::new(ACCESS_KEY_ID, SECRET),
            connect_to: vec![proxy.address().to_string()],
            keys: CandidateKeys::default(),
            baseline: None,
            kms_operation: "UpdateCustomKeyStore".to_owned(),
        };
        let preflight = Preflight::new(prober.unwrap(), Arc::new(SystemClock), ids, "a test".to_owned());
        Self { ec2, elbv2, reader, candidate, preflight, _proxy: proxy }
    }

    /// A pre-flight of the candidate, with what AWS tells of its service.
    pub(crate) async fn report(&self) -> Report {
        self.report_for(None).await
    }

    /// The same with `XksProxyVpcEndpointServiceOwner`.
    pub(crate) async fn report_for(&self, owner: Option<&str>) -> Report {
        self.report_of(SERVICE, owner).await
    }

    /// The same for another service.
    pub(crate) async fn report_of(&self, service: &str, owner: Option<&str>) -> Report {
        let owner = owner.map(|owner| AccountId::parse(owner).unwrap());
        let service = Some(service.to_owned());
        let candidate =
            Candidate { vpc_endpoint_service: service, vpc_endpoint_service_owner: owner, ..self.candidate.clone() };
        let vpc = candidate.endpoint_service(&self.reader).await;
        let aws = AwsEvidence { vpc, ..AwsEvidence::default() };
        let thoroughness = Thoroughness { cold: 1, warm: 0, ..Thoroughness::default() };
        self.preflight.run(&candidate, aws, &thoroughness).await
    }
}

/// The finding of one check.
pub(crate) fn finding<'a>(report: &'a Report, check: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.check.id == check).unwrap()
}

/// Checks that did not come to a pass where one was possible, with how they ended.
pub(crate) fn wrong(report: &Report) -> Vec<String> {
    let bad = report.findings.iter().filter(|finding| finding.check.id.starts_with("vpc."));
    let bad = bad.filter_map(|finding| {
        let problem = match &finding.outcome {
            Outcome::Failed(problem) => format!("failed {}", problem.kind),
            Outcome::OwnFault(problem) => format!("own fault {}", problem.kind),
            _ => return None,
        };
        Some(format!("{} {problem}", finding.check.id))
    });
    bad.collect()
}
