//! Everything a sandbox proxy can be told to do wrong.
//!
//! [`Fault`] is a closed list with one description each; the command line, the documentation and the tests read it
//! from [`Fault::ALL`]. A [`Misbehaviour`] is a fault with its circumstances: how slowly, on which operation, and for
//! which of the requests (or connections). It has a text form, `NAME[:key=value[,key=value...]]`, for example
//! `slow-answer:ms=600,first=1` or `throttling-exception:every=2,operation=decrypt`.

mod misbehaviour;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::misbehaviour::Misbehaviour;

/// Where in a conversation a fault acts, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The listening socket.
    Listener,
    /// The bytes of a connection, in place of a TLS handshake.
    Connection,
    /// The parameters of the TLS handshake.
    Tls,
    /// The certificate chain presented in the handshake.
    Certificate,
    /// How a request is routed and its signature verified.
    Authentication,
    /// The answer to any request, as bytes or HTTP.
    Answer,
    /// A refusal with one of the API's error names, sent to requests that would otherwise have been carried out.
    Refusal,
    /// The body of a successful GetHealthStatus answer.
    Health,
    /// The body of a successful GetKeyMetadata answer.
    KeyMetadata,
    /// Encrypt and Decrypt.
    Cipher,
}

macro_rules! faults {
    ($($layer:ident { $($variant:ident = $name:literal, $description:literal;)* })*) => {
        /// One way in which a sandbox proxy can misbehave.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Fault {
            $($(#[doc = $description] #[serde(rename = $name)] $variant,)*)*
        }

        impl Fault {
            /// Every fault, grouped by layer from the outside in.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            /// The name in configuration, on the command line and in the history, in kebab case.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name,)*)* }
            }

            /// One sentence for people: what the proxy does.
            pub const fn description(self) -> &'static str {
                match self { $($(Self::$variant => $description,)*)* }
            }

            /// Where the fault acts.
            pub const fn layer(self) -> Layer {
                match self { $($(Self::$variant => Layer::$layer,)*)* }
            }
        }
    };
}

faults! {
    Listener {
        ListenerClosed = "listener-closed", "The port is closed: connections are refused.";
    }
    Connection {
        CloseOnAccept = "close-on-accept", "Accepts a connection and closes it at once.";
        ResetOnAccept = "reset-on-accept", "Accepts a connection and resets it.";
        TlsStall = "tls-stall", "Accepts a connection and never answers the ClientHello.";
        PlainHttp = "plain-http", "Speaks HTTP without TLS on the TLS port.";
        NotTls = "not-tls", "Greets with the banner of another protocol (SSH).";
        TlsAlert = "tls-alert", "Answers the ClientHello with a fatal handshake_failure alert.";
        Tls11Only = "tls11-only", "Answers the ClientHello with a TLS 1.1 ServerHello.";
        Tls10Only = "tls10-only", "Answers the ClientHello with a TLS 1.0 ServerHello.";
        TlsAlertProtocolVersion = "tls-alert-protocol-version", "Answers the ClientHello with a fatal protocol_version alert.";
        TlsAlertInsufficientSecurity = "tls-alert-insufficient-security", "Answers the ClientHello with a fatal insufficient_security alert.";
        TlsAlertUnrecognizedName = "tls-alert-unrecognized-name", "Answers the ClientHello with a fatal unrecognized_name alert.";
        TlsAlertInternalError = "tls-alert-internal-error", "Answers the ClientHello with a fatal internal_error alert.";
        TlsStallMidHandshake = "tls-stall-mid-handshake", "Sends half a ServerHello and then nothing more.";
        TlsCbcOnly = "tls-cbc-only", "Takes ECDHE with AES in CBC mode only, with TLS 1.2.";
        TlsDheOnly = "tls-dhe-only", "Takes finite-field Diffie-Hellman only, with TLS 1.2.";
        TlsStaticRsaOnly = "tls-static-rsa-only", "Takes RSA key transport only, with TLS 1.2.";
        Tls3desOnly = "tls-3des-only", "Takes triple DES only, with TLS 1.2.";
        TlsRc4Only = "tls-rc4-only", "Takes RC4 only, with TLS 1.2.";
        TlsNullOnly = "tls-null-only", "Takes suites without encryption only, with TLS 1.2.";
        TlsCloseMidHandshake = "tls-close-mid-handshake", "Closes after half a ServerHello.";
    }
    Tls {
        CipherSuitesUnsupported = "cipher-suites-unsupported", "Offers AES-128 suites only, none of those KMS uses.";
        Tls13SuitesUnsupported = "tls13-suites-unsupported", "Prefers TLS 1.3 and offers no suite in it that KMS uses; with TLS 1.2 it would.";
        Tls12SuitesUnsupported = "tls12-suites-unsupported", "Offers the right suites with TLS 1.3 and AES-128 only with TLS 1.2, which is allowed.";
        Tls13Only = "tls13-only", "Speaks TLS 1.3 only, which is allowed.";
        Tls12Only = "tls12-only", "Speaks TLS 1.2 only, which is allowed.";
        AlpnHttp2Only = "alpn-http2-only", "Negotiates h2 only and refuses a client that offers just http/1.1.";
        AlpnRequired = "alpn-required", "Closes after the handshake unless http/1.1 was agreed on by ALPN.";
        ClientCertificateRequired = "client-certificate-required", "Demands a client certificate of the sandbox's own authority.";
        ClientCertificateRequiredTls12 = "client-certificate-required-tls12", "The same with TLS 1.2 only, where the refusal comes within the handshake.";
        ClientCertificateUnverified = "client-certificate-unverified", "Demands a client certificate and accepts any, whoever signed it.";
        ClientCertificateRequested = "client-certificate-requested", "Asks for a client certificate and accepts its absence.";
    }
    Certificate {
        CertificateExpired = "certificate-expired", "The leaf expired yesterday.";
        CertificateExpiringSoon = "certificate-expiring-soon", "The leaf expires in five days.";
        CertificateNotYetValid = "certificate-not-yet-valid", "The leaf is valid from tomorrow on.";
        CertificateWrongName = "certificate-wrong-name", "The leaf is for another host name.";
        CertificateCommonNameOnly = "certificate-common-name-only", "The leaf names the host in its CN only and has no SAN.";
        CertificateSelfSigned = "certificate-self-signed", "The leaf is signed by its own key.";
        CertificateUnknownRoot = "certificate-unknown-root", "A complete chain to a root nobody has heard of.";
        CertificateMissingIntermediate = "certificate-missing-intermediate", "The leaf is sent without its intermediate.";
        CertificateExpiredIntermediate = "certificate-expired-intermediate", "The intermediate expired yesterday.";
        CertificateChainReversed = "certificate-chain-reversed", "The chain is sent root first and leaf last.";
        CertificateChainUnordered = "certificate-chain-unordered", "The root is sent between the leaf and the intermediate.";
        CertificateSha1Signature = "certificate-sha1-signature", "The leaf claims a SHA-1 signature.";
        CertificateSha1Intermediate = "certificate-sha1-intermediate", "The intermediate claims a SHA-1 signature.";
        CertificateNoCommonName = "certificate-no-common-name", "The leaf's subject has an organisation and no CN.";
        CertificateNoSubject = "certificate-no-subject", "The leaf's subject is empty.";
        CertificateWildcard = "certificate-wildcard", "The leaf is for every host of the parent domain.";
        CertificateWildcardTooDeep = "certificate-wildcard-too-deep", "The leaf is for every host below this one, not for this one.";
        CertificateCommonNameBeside = "certificate-common-name-beside", "The leaf names the host in its CN and another one in its SAN.";
        CertificateThousandNames = "certificate-thousand-names", "The leaf has a thousand SANs, the host's among them.";
        CertificateRsa = "certificate-rsa", "The leaf has an RSA key, which is allowed.";
        CertificateOfAuthority = "certificate-of-authority", "The leaf is the certificate of an authority.";
        CertificateForClients = "certificate-for-clients", "The leaf may be used for TLS clients only.";
        CertificateForged = "certificate-forged", "An authority of the right name signed the leaf with a key of its own.";
        CertificateForeignKey = "certificate-foreign-key", "The handshake is signed with a key that is not the leaf's.";
        CertificateNotYetValidIntermediate = "certificate-not-yet-valid-intermediate", "The intermediate is valid from tomorrow on.";
        CertificateGarbageIntermediate = "certificate-garbage-intermediate", "Bytes that are no certificate are sent after the leaf.";
        CertificateRootWithoutIntermediate = "certificate-root-without-intermediate", "The root is sent after the leaf, and not what is between them.";
        CertificateChainLong = "certificate-chain-long", "Ten unrelated certificates are sent after the chain.";
        CertificateChainHuge = "certificate-chain-huge", "The certificate message has more than 64 KiB.";
        CertificateReissued = "certificate-reissued", "Another leaf for the same names than every other proxy of the sandbox presents.";
        CertificateOcspStaple = "certificate-ocsp-staple", "An OCSP response made an hour ago is stapled to the leaf.";
        CertificateWeakKey = "certificate-weak-key", "A certificate with a 1024-bit RSA key is sent after the chain.";
        CertificateSurplus = "certificate-surplus", "An unrelated certificate is sent after the chain.";
    }
    Authentication {
        ClockAhead = "clock-ahead", "The proxy's clock is ten minutes ahead, in Date and in the signature check.";
        ClockBehind = "clock-behind", "The proxy's clock is ten minutes behind, in Date and in the signature check.";
        WrongRegion = "wrong-region", "Expects another Region in the credential scope: eu-west-1, or us-east-1 if that is its own.";
        HostRewritten = "host-rewritten", "A load balancer rewrites Host before the signature is checked.";
        HostWithPort = "host-with-port", "A load balancer appends the port 443 to Host before the signature is checked.";
        AcceptsAnything = "accepts-anything", "Carries out every request, signed or not.";
        AcceptsUnsigned = "accepts-unsigned", "Carries out requests without an Authorization header.";
        AcceptsWrongSecret = "accepts-wrong-secret", "Looks at the access key id and the date, never at the signature.";
        AcceptsUnknownKeyId = "accepts-unknown-key-id", "Accepts any access key id.";
        AcceptsStale = "accepts-stale", "Never looks at the date of a signature.";
        AcceptsGet = "accepts-get", "Answers a GET as if it were a POST.";
        AcceptsAnyPath = "accepts-any-path", "Answers every unknown path as if it were a health check.";
    }
    Answer {
        StallAfterRequest = "stall-after-request", "Reads the request and never answers.";
        SlowAnswer = "slow-answer", "Answers late, after 600 ms unless told otherwise.";
        DripAnswer = "drip-answer", "Sends the answer byte by byte, 20 ms apart unless told otherwise.";
        CloseWithoutAnswer = "close-without-answer", "Reads the request and closes the connection.";
        ResetWithoutAnswer = "reset-without-answer", "Reads the request and resets the connection.";
        ConnectionCloseAfterEach = "connection-close-after-each", "Answers rightly and closes after every answer.";
        StatusLineGarbage = "status-line-garbage", "Answers with a status line that is not HTTP.";
        Http09Answer = "http09-answer", "Answers with a bare body, without status line or headers.";
        TruncatedBody = "truncated-body", "Announces more bytes than it sends, then closes.";
        ChunkedGarbage = "chunked-garbage", "Announces chunks and sends something that is none.";
        HugeHeaders = "huge-headers", "Sends 1 MB of response headers.";
        EndlessHeaders = "endless-headers", "Sends response headers without end.";
        InformationalFlood = "informational-flood", "Sends 100 Continue without end before any final answer.";
        HugeBody = "huge-body", "Sends a body of 50 MB.";
        EndlessBody = "endless-body", "Sends a body in chunks that never ends.";
        GzipBomb = "gzip-bomb", "Answers 200 with 48 KB of gzip that unpack to 50 MB.";
        EmptyBody = "empty-body", "Answers 200 with an empty body.";
        Html200 = "html-200", "Answers 200 with an HTML page.";
        Html400 = "html-400", "Answers 400 with an HTML page, as a web server does that misses a client certificate.";
        Html403 = "html-403", "Answers 403 with an HTML page, as a web application firewall does.";
        Html404 = "html-404", "Answers 404 with an HTML page, as a web server does.";
        Html502 = "html-502", "Answers 502 with an HTML page, as a load balancer does.";
        Redirect301 = "redirect-301", "Answers 301 with a Location.";
        Redirect302 = "redirect-302", "Answers 302 with a Location.";
        Redirect307 = "redirect-307", "Answers 307 with a Location.";
        ContentTypeWrong = "content-type-wrong", "The right body with Content-Type text/plain.";
        Status500GoodBody = "status-500-good-body", "The right body with status 500.";
        BodyNotUtf8 = "body-not-utf8", "Answers 200 with bytes that are not UTF-8.";
        JsonNestedDeep = "json-nested-deep", "Answers 200 with JSON nested 10,000 deep.";
        JsonTrailingGarbage = "json-trailing-garbage", "The right body followed by garbage.";
        JsonTruncated = "json-truncated", "The first half of the right body, with a matching Content-Length.";
        JsonNotObject = "json-not-object", "Answers 200 with a JSON array.";
    }
    Refusal {
        ValidationException = "validation-exception", "Refuses with 400 ValidationException.";
        InvalidStateException = "invalid-state-exception", "Refuses with 400 InvalidStateException.";
        InvalidCiphertextException = "invalid-ciphertext-exception", "Refuses with 400 InvalidCiphertextException.";
        InvalidKeyUsageException = "invalid-key-usage-exception", "Refuses with 400 InvalidKeyUsageException.";
        AuthenticationFailedException = "authentication-failed-exception", "Refuses with 401 AuthenticationFailedException.";
        AccessDeniedException = "access-denied-exception", "Refuses with 403 AccessDeniedException.";
        KeyNotFoundException = "key-not-found-exception", "Refuses with 404 KeyNotFoundException.";
        InvalidUriPathException = "invalid-uri-path-exception", "Refuses with 404 InvalidUriPathException.";
        ThrottlingException = "throttling-exception", "Refuses with 429 ThrottlingException.";
        ThrottlingEverySecond = "throttling-every-second", "Refuses every second request with 429 ThrottlingException.";
        InternalException = "internal-exception", "Refuses with 500 InternalException.";
        UnsupportedOperationException = "unsupported-operation-exception", "Refuses with 501 UnsupportedOperationException.";
        DependencyTimeoutException = "dependency-timeout-exception", "Refuses with 503 DependencyTimeoutException.";
        ErrorWithStatus200 = "error-with-status-200", "Refuses with InternalException but status 200.";
        ErrorNameUnknown = "error-name-unknown", "Refuses with 400 and an errorName that the API does not know.";
        ErrorNameMissing = "error-name-missing", "Refuses with 500 and a JSON object without errorName.";
        ErrorMessageOverlong = "error-message-overlong", "Refuses with an errorMessage of 600 characters.";
        ErrorMessageNotAscii = "error-message-not-ascii", "Refuses with an errorMessage outside printable ASCII.";
    }
    Health {
        HealthWithoutFleetSize = "health-without-fleet-size", "The health answer lacks xksProxyFleetSize.";
        HealthWithoutProxyVendor = "health-without-proxy-vendor", "The health answer lacks xksProxyVendor.";
        HealthWithoutProxyModel = "health-without-proxy-model", "The health answer lacks xksProxyModel.";
        HealthWithoutEkmVendor = "health-without-ekm-vendor", "The health answer lacks ekmVendor.";
        HealthWithoutEkmFleet = "health-without-ekm-fleet", "The health answer lacks ekmFleetDetails.";
        HealthEkmWithoutId = "health-ekm-without-id", "The first key manager lacks its id.";
        HealthEkmWithoutModel = "health-ekm-without-model", "The first key manager lacks its model.";
        HealthEkmWithoutStatus = "health-ekm-without-status", "The first key manager lacks its healthStatus.";
        HealthVendorNull = "health-vendor-null", "xksProxyVendor is null.";
        HealthVendorNumber = "health-vendor-number", "xksProxyVendor is a number.";
        HealthFleetSizeString = "health-fleet-size-string", "xksProxyFleetSize is a string.";
        HealthFleetSizeZero = "health-fleet-size-zero", "xksProxyFleetSize is 0.";
        HealthFleetSizeNegative = "health-fleet-size-negative", "xksProxyFleetSize is -1.";
        HealthFleetSizeFractional = "health-fleet-size-fractional", "xksProxyFleetSize is 1.5.";
        HealthFleetSizeHuge = "health-fleet-size-huge", "xksProxyFleetSize does not fit 64 bits.";
        HealthEkmFleetObject = "health-ekm-fleet-object", "ekmFleetDetails is an object.";
        HealthEkmFleetEmpty = "health-ekm-fleet-empty", "ekmFleetDetails is empty.";
        HealthEkmFleetEleven = "health-ekm-fleet-eleven", "ekmFleetDetails has eleven entries.";
        HealthEkmNotObject = "health-ekm-not-object", "An entry of ekmFleetDetails is a string.";
        HealthStatusUnknown = "health-status-unknown", "A key manager has a healthStatus the API does not know.";
        HealthDuplicateMember = "health-duplicate-member", "xksProxyFleetSize appears twice with different values.";
        EkmAllUnavailable = "ekm-all-unavailable", "Every key manager is UNAVAILABLE.";
        EkmOneUnavailable = "ekm-one-unavailable", "One key manager of several is UNAVAILABLE.";
        EkmOneDegraded = "ekm-one-degraded", "One key manager is DEGRADED.";
    }
    KeyMetadata {
        KeySpecRsa = "key-spec-rsa", "The metadata say keySpec RSA_0 with no usage, as a miscompiled sample proxy does.";
        KeySpecMissing = "key-spec-missing", "The metadata lack keySpec.";
        KeyDisabled = "key-disabled", "The metadata say keyStatus DISABLED.";
        KeyStatusUnknown = "key-status-unknown", "The metadata give a keyStatus the API does not know.";
        KeyUsageWithoutEncrypt = "key-usage-without-encrypt", "The metadata lack the usage ENCRYPT.";
        KeyUsageWithoutDecrypt = "key-usage-without-decrypt", "The metadata lack the usage DECRYPT.";
        KeyUsageEleven = "key-usage-eleven", "The metadata list eleven usages.";
    }
    Cipher {
        KeyMaterialSwapped = "key-material-swapped", "Other key material under the same key ids: old ciphertext is refused.";
        CdivWrong = "cdiv-wrong", "Encrypt gives a wrong ciphertextDataIntegrityValue.";
        CdivMissing = "cdiv-missing", "Encrypt leaves out the ciphertextDataIntegrityValue that was asked for.";
        CiphertextCorrupted = "ciphertext-corrupted", "Encrypt gives ciphertext with one bit flipped.";
        CiphertextTooLong = "ciphertext-too-long", "Encrypt gives ciphertext one byte longer than the plaintext.";
        CiphertextNotBase64 = "ciphertext-not-base64", "Encrypt gives ciphertext that is not base64.";
        InitializationVectorShort = "initialization-vector-short", "Encrypt gives an initializationVector of 8 bytes.";
        AuthenticationTagShort = "authentication-tag-short", "Encrypt gives an authenticationTag of 12 bytes.";
        CiphertextMetadataOverlong = "ciphertext-metadata-overlong", "Encrypt gives 21 bytes of ciphertextMetadata.";
        AdditionalDataIgnored = "additional-data-ignored", "Encrypt and Decrypt pay no regard to the additional authenticated data.";
        PlaintextWrong = "plaintext-wrong", "Decrypt gives another plaintext than was encrypted.";
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let found = Self::ALL.iter().find(|fault| fault.name() == text);
        found.copied().ok_or_else(|| InvalidFault::UnknownName { name: text.to_owned() })
    }
}

/// The four operations of the XKS Proxy API, as the sandbox's proxy serves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `/health`
    GetHealthStatus,
    /// `/keys/<externalKeyId>/metadata`
    GetKeyMetadata,
    /// `/keys/<externalKeyId>/encrypt`
    Encrypt,
    /// `/keys/<externalKeyId>/decrypt`
    Decrypt,
}

impl Operation {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "get-health-status" | "health" => Some(Self::GetHealthStatus),
            "get-key-metadata" | "metadata" => Some(Self::GetKeyMetadata),
            "encrypt" => Some(Self::Encrypt),
            "decrypt" => Some(Self::Decrypt),
            _ => None,
        }
    }
}

/// Text that names no misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// No fault has this name.
    #[error("no fault is called {name:?}")]
    UnknownName {
        /// The name given.
        name: String,
    },
    /// A circumstance is not `ms=`, `first=`, `after=` or `every=` with a number, or `operation=` with an operation.
    #[error(
        "{text:?} is not a circumstance of a fault; write ms=, first=, after= or every= with a number, or operation=health|metadata|encrypt|decrypt"
    )]
    Circumstance {
        /// The part that was not understood.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_that_parses_and_a_sentence() {
        assert!(Fault::ALL.len() >= 55);
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(*fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
            assert!(fault.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(fault.description().ends_with('.'), "{fault}");
        }
    }
}
