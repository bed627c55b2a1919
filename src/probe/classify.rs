//! From the errors of sockets, TLS and HTTP to problems: the only place that looks into them.
//!
//! Types decide, never texts. What a person reads is a diagnosis: what the server or the network did, and what usually
//! is behind it.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, CipherSuite, InvalidMessage, PeerIncompatible};

use super::recorder::Recorded;
use crate::check::{ExchangeEvidence, LARGEST_BODY, Problem, ProblemKind, Stage, Stop, TlsEvidence};

// === tcp ===

pub(super) fn connect_timed_out(address: SocketAddr, limit: Duration) -> Problem {
    let detail = format!(
        "no answer to the connection attempt to {address} within {} ms: likely a firewall or security group that \
         drops packets, or a host that is down",
        limit.as_millis()
    );
    Problem::path(ProblemKind::TimedOut, detail)
}

pub(super) fn connect(address: SocketAddr, error: &io::Error) -> Stop {
    // A reset in answer to the connection attempt is a refusal. This one came after the connection had been accepted,
    // so quickly that the socket never was without it: the same as a moment later.
    if error.kind() == io::ErrorKind::ConnectionReset {
        return Stop { stage: Stage::Tls, problem: reset_before_tls() };
    }
    Stop { stage: Stage::Tcp, problem: no_connection(address, error) }
}

fn no_connection(address: SocketAddr, error: &io::Error) -> Problem {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => {
            let detail = format!("{address} refuses connections: nothing listens there, or a firewall rejects");
            Problem::target(ProblemKind::Refused, detail)
        }
        // The system's own patience is longer than any limit of ours, but not than any configured one.
        Kind::TimedOut => {
            let detail =
                format!("no answer to the connection attempt to {address}: likely a firewall that drops packets");
            Problem::path(ProblemKind::TimedOut, detail)
        }
        Kind::HostUnreachable | Kind::NetworkUnreachable => {
            let detail = format!("no route leads from here to {address} ({error})");
            Problem::path(ProblemKind::Unreachable, detail)
        }
        // Too many open files, no free port, an interface that is down, a local firewall's veto: nothing of the target
        // follows from any of them, nor from an error that nobody foresaw.
        _ => {
            let detail = format!("this machine cannot open a connection to {address} ({error})");
            Problem::own(ProblemKind::LocalResources, detail)
        }
    }
}

// === tls ===

pub(super) fn handshake_timed_out(limit: Duration) -> Problem {
    let detail = format!(
        "the connection was made, but the TLS handshake did not finish within {} ms: the server is slow or overloaded, \
         or does not speak TLS on this port",
        limit.as_millis()
    );
    Problem::target(ProblemKind::TimedOut, detail)
}

/// Whether the server said no more than that it could not agree.
pub(super) fn is_handshake_failure(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)))
}

pub(super) fn no_common_suite(chosen: Option<&str>) -> Problem {
    let chosen = chosen.map(|suite| format!(" (offered more, it chooses {suite})")).unwrap_or_default();
    let detail = format!(
        "the server accepts none of the cipher suites that KMS offers{chosen}: enable TLS_AES_256_GCM_SHA384 or \
         TLS_CHACHA20_POLY1305_SHA256 (TLS 1.3), or ECDHE with AES-256-GCM-SHA384 (TLS 1.2)"
    );
    Problem::target(ProblemKind::NoCipherSuite, detail)
}

pub(super) fn old_version() -> Problem {
    let detail = "the server chose a TLS version below 1.2; KMS speaks 1.2 and 1.3 only";
    Problem::target(ProblemKind::ProtocolVersion, detail)
}

/// A handshake that did not finish.
pub(super) fn handshake(error: &io::Error, recorded: &Recorded) -> Problem {
    let broken = match tls_error(error) {
        Some(error) => handshake_tls(error),
        None => handshake_io(error),
    };
    // A time-out says nothing of certificates; the protocol's own violations neither.
    match broken.kind {
        ProblemKind::Alert | ProblemKind::Closed | ProblemKind::Reset if recorded.client_certificate_requested => {
            client_certificate(recorded.client_certificate_presented, &broken)
        }
        _ => broken,
    }
}

/// The server asked for a client certificate and then broke off.
fn client_certificate(presented: bool, broken: &Problem) -> Problem {
    let detail = if presented {
        format!("the server asked for a client certificate and does not accept the configured one: {}", broken.detail)
    } else {
        format!("the server demands a client certificate, and none is configured: {}", broken.detail)
    };
    Problem::target(ProblemKind::ClientCertificate, detail)
}

fn handshake_tls(error: &rustls::Error) -> Problem {
    use rustls::Error;
    match error {
        Error::AlertReceived(alert) => alert_received(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            let detail = "the answer to the TLS greeting is not TLS: the server speaks plain HTTP or another protocol \
                          on this port";
            Problem::target(ProblemKind::NotTls, detail)
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => old_version(),
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => Problem::target(
            ProblemKind::TooLarge,
            "the server's certificates have more than 64 KiB: it serves far more of them than its chain needs",
        ),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => no_common_suite(None),
        Error::NoApplicationProtocol => alert_received(AlertDescription::NoApplicationProtocol),
        Error::InvalidCertificate(CertificateError::BadSignature) => Problem::target(
            ProblemKind::BrokenHandshake,
            "the handshake is not signed with the key of the certificate that was presented first: certificate and \
             private key do not belong together",
        ),
        Error::InvalidCertificate(reason) => Problem::target(
            ProblemKind::BadCertificate,
            format!("the handshake's signature cannot be verified with the certificate ({reason})"),
        ),
        Error::NoCertificatesPresented => {
            Problem::target(ProblemKind::BadCertificate, "the server presented no certificate")
        }
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes | Error::UnsupportedNameType => {
            Problem::own(ProblemKind::LocalResources, format!("this machine cannot shake hands ({error})"))
        }
        other => Problem::target(ProblemKind::BrokenHandshake, format!("the server broke the TLS protocol ({other})")),
    }
}

fn handshake_io(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Problem::target(
            ProblemKind::Closed,
            "the server closed the connection during the TLS handshake: no TLS on this port, or a load balancer \
             without a healthy target behind it",
        ),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => reset_before_tls(),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Problem::path(ProblemKind::Unreachable, format!("the network failed during the TLS handshake ({error})"))
        }
        _ => {
            Problem::own(ProblemKind::LocalResources, format!("this machine cannot go on with the handshake ({error})"))
        }
    }
}

fn reset_before_tls() -> Problem {
    Problem::target(
        ProblemKind::Reset,
        "the connection was accepted and then reset during the TLS handshake: no TLS on this port, or something on the \
         path forbids it",
    )
}

fn alert_received(alert: AlertDescription) -> Problem {
    let name = alert_name(alert);
    let (kind, meaning) = match alert {
        AlertDescription::ProtocolVersion => (ProblemKind::ProtocolVersion, "it speaks neither TLS 1.2 nor 1.3"),
        AlertDescription::InsufficientSecurity => {
            (ProblemKind::NoCipherSuite, "it accepts none of the cipher suites that KMS offers")
        }
        AlertDescription::HandshakeFailure => {
            (ProblemKind::Alert, "it could not agree with us; its log may say on what")
        }
        AlertDescription::UnrecognisedName => (ProblemKind::Alert, "it does not know the host name (SNI)"),
        AlertDescription::NoApplicationProtocol => {
            (ProblemKind::NoHttp1, "it does not offer HTTP/1.1 by ALPN, only other protocols such as HTTP/2")
        }
        AlertDescription::InternalError => (ProblemKind::Alert, "it failed inside; its log may say why"),
        _ => (ProblemKind::Alert, "its log may say why"),
    };
    Problem::target(kind, format!("the server ended the connection with the TLS alert {name}: {meaning}"))
}

/// The name that the TLS specifications use (RFC 8446, section 6).
fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown_ca".to_owned(),
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity".to_owned(),
        AlertDescription::UnrecognisedName => "unrecognized_name".to_owned(),
        AlertDescription::EncryptedClientHelloRequired => "ech_required".to_owned(),
        AlertDescription::Unknown(number) => format!("number {number}"),
        other => other.as_str().map_or_else(|| format!("number {}", u8::from(other)), snake_case),
    }
}

fn snake_case(name: &str) -> String {
    name.char_indices().fold(String::new(), |mut text, (index, c)| {
        if c.is_ascii_uppercase() && index > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}

/// IANA's name: rustls inserts the version into the names of TLS 1.3 (`TLS13_AES_256_GCM_SHA384`).
pub(super) fn iana_name(suite: CipherSuite) -> Option<String> {
    suite.as_str().map(|name| name.replacen("TLS13_", "TLS_", 1))
}

// === http ===

/// What matters of the handshake for reading the first answer: a TLS 1.3 server refuses a client certificate only
/// after the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction {
    pub(super) client_certificate_requested: bool,
    pub(super) client_certificate_presented: bool,
    /// Whether anything was answered on this connection already.
    pub(super) answered: bool,
}

pub(super) fn answer_timed_out(limit: Duration, head_arrived: bool) -> Stop {
    let missing = if head_arrived { "the body of the answer was not complete" } else { "no answer came" };
    let detail = format!(
        "the request was sent, but {missing} within {} ms: the proxy or the key manager behind it is slow or overloaded",
        limit.as_millis()
    );
    Stop { stage: Stage::Http, problem: Problem::target(ProblemKind::TimedOut, detail) }
}

pub(super) fn body_too_large(announced: Option<u64>) -> Stop {
    let size = announced.map_or_else(|| "goes on".to_owned(), |bytes| format!("is announced with {bytes} bytes"));
    let detail = format!("the body of the answer {size}; no valid one is longer than {LARGEST_BODY} bytes");
    Stop { stage: Stage::Http, problem: Problem::target(ProblemKind::TooLarge, detail) }
}

pub(super) fn too_many_interim_answers(count: usize) -> Stop {
    let detail = format!("more than {count} interim answers (status 1xx) came before any final one");
    Stop { stage: Stage::Http, problem: Problem::target(ProblemKind::NotHttp, detail) }
}

pub(super) fn connection_gone() -> Stop {
    let detail = "the server closed the connection after an earlier answer";
    Stop { stage: Stage::Http, problem: Problem::target(ProblemKind::Closed, detail) }
}

/// An exchange that did not end in a complete answer.
pub(super) fn exchange(error: &hyper::Error, introduction: Introduction) -> Stop {
    let broken = broken_exchange(error);
    let Introduction { client_certificate_requested, client_certificate_presented, answered } = introduction;
    match broken.kind {
        ProblemKind::Alert | ProblemKind::Closed | ProblemKind::Reset if client_certificate_requested && !answered => {
            // With a certificate presented, only an alert says that it was the certificate.
            if client_certificate_presented && broken.kind != ProblemKind::Alert {
                let detail =
                    format!("{}; or the server does not accept the configured client certificate", broken.detail);
                return Stop { stage: Stage::Http, problem: Problem { detail, ..broken } };
            }
            Stop { stage: Stage::Tls, problem: client_certificate(client_certificate_presented, &broken) }
        }
        _ => Stop { stage: Stage::Http, problem: broken },
    }
}

/// A server in front of the proxy asked for a client certificate, got none, and says so with a page rather than by TLS:
/// nginx with 400, 495 or 496, others with 403. The proxy itself would have answered in JSON.
pub(super) fn page_for_lack_of_certificate(exchange: &ExchangeEvidence, tls: Option<&TlsEvidence>) -> Option<Stop> {
    let lacked = tls.is_some_and(|tls| tls.client_certificate_requested && !tls.client_certificate_presented);
    let own = serde_json::from_slice::<serde_json::Map<_, _>>(&exchange.body).is_ok();
    (lacked && matches!(exchange.status, 400 | 403 | 495 | 496) && !own).then(|| {
        let detail = format!(
            "the server asked for a client certificate, none is configured, and it answers {} with a page that is not \
             the proxy's",
            exchange.status
        );
        Stop { stage: Stage::Tls, problem: Problem::target(ProblemKind::ClientCertificate, detail) }
    })
}

fn broken_exchange(error: &hyper::Error) -> Problem {
    if error.is_parse_too_large() {
        return Problem::target(ProblemKind::TooLarge, "the head of the answer is longer than any valid one");
    }
    if error.is_parse() {
        return Problem::target(ProblemKind::NotHttp, format!("the answer is not HTTP/1.1 ({error})"));
    }
    if error.is_user() {
        return Problem::own(ProblemKind::LocalResources, format!("the request could not be made ({error})"));
    }
    match io_error(error) {
        Some(error) => broken_stream(error),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => closed(),
        None => Problem::target(ProblemKind::Closed, format!("the exchange broke off ({error})")),
    }
}

fn broken_stream(error: &io::Error) -> Problem {
    if let Some(error) = tls_error(error) {
        return match error {
            rustls::Error::AlertReceived(alert) => alert_received(*alert),
            other => Problem::target(
                ProblemKind::BrokenHandshake,
                format!("the server broke the TLS protocol after the handshake ({other})"),
            ),
        };
    }
    match error.kind() {
        // A broken pipe is what is left of a close when there is more to write.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => closed(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            Problem::target(ProblemKind::Reset, "the connection was reset before the answer was complete")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Problem::target(
            ProblemKind::NotHttp,
            format!("the body of the answer breaks the rules of HTTP/1.1 ({error})"),
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Problem::path(ProblemKind::Unreachable, format!("the network failed during the exchange ({error})"))
        }
        _ => {
            Problem::own(ProblemKind::LocalResources, format!("this machine cannot go on with the exchange ({error})"))
        }
    }
}

fn closed() -> Problem {
    Problem::target(
        ProblemKind::Closed,
        "the server closed the connection before the answer was complete: it crashed, or a load balancer gave up",
    )
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Fault;

    fn address() -> SocketAddr {
        "192.0.2.7:443".parse().unwrap()
    }

    #[test]
    fn what_this_machine_lacks_is_its_own_fault() {
        // Linux: EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, ENETDOWN, EACCES, EPERM, and a number of nobody's.
        for number in [24, 23, 105, 12, 99, 100, 13, 1, 4095] {
            let Stop { stage, problem } = connect(address(), &io::Error::from_raw_os_error(number));
            assert_eq!(
                (stage, problem.kind, problem.fault),
                (Stage::Tcp, ProblemKind::LocalResources, Fault::Own),
                "{number}"
            );
        }
    }

    #[test]
    fn the_paths_and_the_targets_faults_are_told_apart() {
        // Linux: ECONNREFUSED, ECONNRESET, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT.
        for (number, stage, kind, fault) in [
            (111, Stage::Tcp, ProblemKind::Refused, Fault::Target),
            (104, Stage::Tls, ProblemKind::Reset, Fault::Target),
            (101, Stage::Tcp, ProblemKind::Unreachable, Fault::Path),
            (113, Stage::Tcp, ProblemKind::Unreachable, Fault::Path),
            (110, Stage::Tcp, ProblemKind::TimedOut, Fault::Path),
        ] {
            let stop = connect(address(), &io::Error::from_raw_os_error(number));
            assert_eq!((stop.stage, stop.problem.kind, stop.problem.fault), (stage, kind, fault), "{number}");
        }
    }

    #[test]
    fn alerts_have_the_names_of_the_specification() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::CertificateRequired, "certificate_required"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnrecognisedName, "unrecognized_name"),
            (AlertDescription::from(201), "number 201"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }

    #[test]
    fn a_broken_off_handshake_blames_the_client_certificate_only_if_one_was_asked_for() {
        let refused = || io::Error::other(rustls::Error::AlertReceived(AlertDescription::BadCertificate));
        let asked = Recorded { client_certificate_requested: true, ..Recorded::default() };
        assert_eq!(handshake(&refused(), &asked).kind, ProblemKind::ClientCertificate);
        assert_eq!(handshake(&refused(), &Recorded::default()).kind, ProblemKind::Alert);
        let stalled = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(handshake(&stalled, &asked).kind, ProblemKind::Unreachable);
    }
}
