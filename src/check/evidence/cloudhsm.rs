//! What AWS tells of a CloudHSM cluster.

/// What AWS tells of the CloudHSM cluster behind a key store.
#[derive(Clone, Debug)]
pub struct CloudHsmEvidence {}
