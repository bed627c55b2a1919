//! One connection to one address, and requests about keys on it, one after the other.

use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::check::{ExchangeEvidence, Fault, Problem, ProblemKind, Stop};
use crate::key_store::ExternalKeyId;
use crate::probe::{Destination, KeptConnection, Prober, Target};
use crate::xks::{
    CipherViolation, Ciphertext, DecryptRequest, EncryptRequest, EncryptedData, ErrorName, KeyRequestMetadata, Refusal,
    XksOperation,
};

/// What every test ciphertext is bound to: for whoever reads the key manager's audit log.
pub(super) const ADDITIONAL_DATA: &[u8] = b"xks-preflight=test,customer-data=none";

/// A plaintext that nobody ever knew.
pub(super) type Plaintext = Zeroizing<[u8; 32]>;

/// A random plaintext and what Encrypt made of it. Has no `Debug`, which would show the plaintext.
pub(super) struct Sealed {
    pub(super) plaintext: Plaintext,
    pub(super) ciphertext: Ciphertext,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The specification's name, if the proxy refused by one.
    pub(super) name: Option<ErrorName>,
    pub(super) problem: Problem,
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self { name: None, problem }
    }
}

/// Asks one address, on a connection that is kept while the server keeps it.
pub(super) struct Lane<'a> {
    prober: &'a Prober,
    target: &'a Target,
    address: Destination,
    limit: Duration,
    connection: Option<KeptConnection>,
}

impl<'a> Lane<'a> {
    /// `limit` is for connecting and for each request.
    pub(super) fn new(prober: &'a Prober, target: &'a Target, address: Destination, limit: Duration) -> Self {
        Self { prober, target, address, limit, connection: None }
    }

    /// `requestMetadata` that say who asks.
    pub(super) fn metadata(&self, kms_operation: &str, with_key: bool) -> KeyRequestMetadata {
        let region = &self.target.region;
        KeyRequestMetadata {
            aws_principal_arn: "arn:aws:iam::000000000000:role/xks-preflight".to_owned(),
            kms_key_arn: with_key.then(|| format!("arn:aws:kms:{region}:000000000000:key/xks-preflight-test")),
            kms_operation: kms_operation.to_owned(),
            kms_request_id: self.prober.request_id(),
        }
    }

    /// Encrypts something random and verifies the answer as KMS would.
    pub(super) async fn encrypt(&mut self, key: &ExternalKeyId) -> Result<Sealed, Trouble> {
        let mut plaintext = Zeroizing::new([0_u8; 32]);
        rand::fill(plaintext.as_mut_slice())
            .map_err(|_| Problem::own(ProblemKind::LocalResources, "no random bytes are to be had"))?;
        let metadata = self.metadata("Encrypt", true);
        let request = EncryptRequest {
            metadata: &metadata,
            plaintext: plaintext.as_slice(),
            additional_authenticated_data: ADDITIONAL_DATA,
            with_integrity_value: true,
        };
        let body = self.ask(XksOperation::Encrypt(key), request.body()).await?;
        let data = EncryptedData::parse(&body, &request).map_err(|violation| {
            let kind = match violation {
                CipherViolation::Schema(_) => ProblemKind::Schema,
                CipherViolation::IntegrityValue => ProblemKind::IntegrityValue,
            };
            Problem::target(kind, format!("the answer to Encrypt: {violation}"))
        })?;
        Ok(Sealed { plaintext, ciphertext: data.ciphertext })
    }

    /// Decrypts; the plaintext is the caller's to compare and to forget.
    pub(super) async fn decrypt(
        &mut self,
        key: &ExternalKeyId,
        ciphertext: &Ciphertext,
        additional_authenticated_data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let metadata = self.metadata("Decrypt", true);
        let request = DecryptRequest { metadata: &metadata, ciphertext, additional_authenticated_data };
        let body = self.ask(XksOperation::Decrypt(key), request.body()).await?;
        let plaintext = DecryptRequest::plaintext(&body)
            .map_err(|violation| Problem::target(ProblemKind::Schema, format!("the answer to Decrypt: {violation}")))?;
        Ok(Zeroizing::new(plaintext))
    }

    /// The body of a good answer. After a network time-out it is asked once more, as KMS does; a kept connection that
    /// turns out to be gone is no answer at all and is replaced.
    pub(super) async fn ask(&mut self, operation: XksOperation<'_>, body: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        let mut may_retry = true;
        loop {
            let reused = self.connection.is_some();
            let stop = match self.attempt(operation, body.clone()).await {
                Ok(exchange) => return answer(operation, exchange),
                Err(stop) => stop,
            };
            let was_gone = reused && matches!(stop.problem.kind, ProblemKind::Closed | ProblemKind::Reset);
            if was_gone {
                continue;
            }
            let timed_out = stop.problem.kind == ProblemKind::TimedOut && stop.problem.fault != Fault::Own;
            if !(timed_out && may_retry) {
                let detail = format!("{}: {}", operation.name(), stop.problem.detail);
                return Err(Problem { detail, ..stop.problem }.into());
            }
            may_retry = false;
        }
    }

    async fn attempt(&mut self, operation: XksOperation<'_>, body: Vec<u8>) -> Result<ExchangeEvidence, Stop> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.prober.open(self.target, self.address, self.limit).await?,
        };
        let answer = self.prober.exchange(self.target, &mut connection, operation, body, self.limit).await;
        if answer.is_ok() && connection.stays_open(self.limit).await {
            self.connection = Some(connection);
        }
        answer
    }
}

fn answer(operation: XksOperation<'_>, exchange: ExchangeEvidence) -> Result<Vec<u8>, Trouble> {
    let ExchangeEvidence { status, body, .. } = exchange;
    if let Ok(refusal) = Refusal::parse(&body) {
        let meaning = refusal.name.map(|name| format!(": {}", name.meaning())).unwrap_or_default();
        let detail = format!("{} is answered {status} {}{meaning}", operation.name(), refusal.name_as_sent);
        let kind = match refusal.name {
            Some(ErrorName::KeyNotFound) => ProblemKind::NotFound,
            Some(ErrorName::InvalidState | ErrorName::InvalidKeyUsage) => ProblemKind::UnusableKey,
            _ => ProblemKind::ProxyError,
        };
        return Err(Trouble { name: refusal.name, problem: Problem::target(kind, detail) });
    }
    if status == 200 {
        return Ok(body);
    }
    let detail = format!("{} is answered with HTTP status {status}", operation.name());
    Err(Problem::target(ProblemKind::Status, detail).into())
}
