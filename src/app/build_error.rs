//! Why the daemon cannot start.

use std::net::SocketAddr;

use crate::aws::AwsService;
use crate::driver::OrderError;
use crate::journal::{OpenError, SealError};
use crate::key_store::{CustomKeyStoreId, Place};
use crate::probe::ProberError;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The journal.
    #[error("cannot open the journal")]
    Journal(#[from] OpenError),
    /// The sealing key.
    #[error("cannot use the sealing key")]
    Sealing(#[from] SealError),
    /// The prober.
    #[error("cannot prepare probing")]
    Prober(#[from] ProberError),
    /// The metrics.
    #[error("cannot set up metrics; this is a fault of xks-preflight")]
    Metrics(#[from] prometheus::Error),
    /// The address.
    #[error("cannot listen on {address}; is another process there? configure another listen.api")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The address of the KMS drop-in endpoint.
    #[error("cannot listen on {address}; is another process there? configure another listen.kms")]
    ListenKms {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key store where this process asks nobody.
    #[error(
        "key store {key_store} is configured in {place}, and this process does not ask there: [[accounts]] are read at the \
         start, so restart it"
    )]
    UnknownPlace {
        /// The key store.
        key_store: CustomKeyStoreId,
        /// Its account and Region.
        place: Place,
    },
    /// Laboratory roots before a KMS that is none.
    #[error(
        "preflight.ca_files makes every verdict one of the laboratory, and KMS here is a real one: leave ca_files out, \
         set kms.observe_only, or let kms.endpoint_url be a simulation on loopback"
    )]
    LaboratoryGate,
    /// Rotations that wait for less than KMS takes, before a KMS that is none of the laboratory.
    #[error(
        "update.rotation.least_propagation_wait is less than 5 minutes, for which a real KMS may use the former \
         credential, and KMS here is a real one: leave it out, set kms.observe_only, or let kms.endpoint_url be a \
         simulation on loopback"
    )]
    HastyRotation,
    /// A simulated EC2 or Elastic Load Balancing before a KMS that is none.
    #[error(
        "vpc.ec2_endpoint_url or vpc.elbv2_endpoint_url is a simulation, and KMS here is a real one: leave it out, set \
         kms.observe_only, or let kms.endpoint_url be a simulation on loopback, too"
    )]
    SimulatedVpc,
    /// A simulated CloudHSM before a KMS that is none.
    #[error(
        "cloudhsm.endpoint_url is a simulation, and KMS here is a real one: leave it out, set kms.observe_only, or let \
         kms.endpoint_url be a simulation on loopback, too"
    )]
    SimulatedCloudHsm,
    /// A perspective that is this daemon itself.
    #[error(
        "perspectives names {name:?}, and so does this daemon call itself (--perspective): to look twice from one place is no \
         second opinion"
    )]
    OwnPerspective {
        /// The name.
        name: String,
    },
    /// A simulated Secrets Manager before a KMS that is none.
    #[error(
        "credentials.{credential}.secrets_manager.endpoint_url is a simulation, and KMS here is a real one: leave it out, \
         set kms.observe_only, or let kms.endpoint_url be a simulation on loopback, too"
    )]
    SimulatedSecretsManager {
        /// Its name.
        credential: String,
    },
    /// The environment, or the AWS configuration files, say that AWS is elsewhere than the configuration does.
    #[error(
        "where AWS is stands in the configuration, and not in the environment: {}. Write the endpoint there, or take the \
         variable or line away from this process; AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true leaves it to other programs",
        told(.steered)
    )]
    Steered {
        /// Each service with what would steer its clients elsewhere.
        steered: Vec<(AwsService, String)>,
    },
    /// Open updates cannot be read.
    #[error("cannot take up open updates")]
    Resume(#[source] OrderError),
}

fn told(steered: &[(AwsService, String)]) -> String {
    let one = |(service, by): &(AwsService, String)| {
        format!("{by} names one of {service}, for which there is {}", service.key())
    };
    steered.iter().map(one).collect::<Vec<_>>().join("; ")
}
