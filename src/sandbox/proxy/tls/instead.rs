//! The bytes of servers that do not manage a handshake, or not one of today.

use crate::sandbox::fault::Fault;

/// A record header that announces more of a ServerHello than follows.
const HALF_SERVER_HELLO: [u8; 9] = [22, 3, 3, 0, 122, 2, 0, 0, 118];

/// What a server that does not speak TLS, or not well, sends in answer to a ClientHello; None sends nothing.
pub(in crate::sandbox::proxy) fn instead_of_handshake(fault: Fault, hello: &[u8]) -> Option<Vec<u8>> {
    match fault {
        Fault::PlainHttp => {
            let body = "The plain HTTP request was expected on this port\n";
            let head =
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            Some([head.as_bytes(), body.as_bytes()].concat())
        }
        Fault::NotTls => Some(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        Fault::TlsAlert => Some(alert(40)),
        Fault::TlsAlertProtocolVersion => Some(alert(70)),
        Fault::TlsAlertInsufficientSecurity => Some(alert(71)),
        Fault::TlsAlertInternalError => Some(alert(80)),
        Fault::TlsAlertUnrecognizedName => Some(alert(112)),
        // Such a server disregards the `supported_versions` extension, so it answers instead of alerting.
        Fault::Tls10Only => Some(server_hello(1, [0xc0, 0x09])),
        Fault::Tls11Only => Some(server_hello(2, [0xc0, 0x09])),
        Fault::TlsCloseMidHandshake | Fault::TlsStallMidHandshake => {
            Some([&HALF_SERVER_HELLO[..], &[0x5a; 60]].concat())
        }
        _ => old_suites(fault).map(|suites| chosen(suites, hello)),
    }
}

/// What a server with old cipher suites takes (IANA's TLS Cipher Suites), in its order of preference.
fn old_suites(fault: Fault) -> Option<&'static [[u8; 2]]> {
    Some(match fault {
        Fault::TlsCbcOnly => &[[0xc0, 0x14], [0xc0, 0x13], [0xc0, 0x0a], [0xc0, 0x09]],
        Fault::TlsDheOnly => &[[0x00, 0x9f], [0x00, 0x9e], [0x00, 0x39], [0x00, 0x33]],
        Fault::TlsStaticRsaOnly => &[[0x00, 0x9d], [0x00, 0x9c], [0x00, 0x35], [0x00, 0x2f]],
        Fault::Tls3desOnly => &[[0xc0, 0x12], [0x00, 0x0a]],
        Fault::TlsRc4Only => &[[0xc0, 0x11], [0x00, 0x05], [0x00, 0x04]],
        Fault::TlsNullOnly => &[[0x00, 0x3b], [0x00, 0x02]],
        _ => return None,
    })
}

/// A ServerHello with the first of these that the client offers, or else the alert handshake_failure.
fn chosen(suites: &[[u8; 2]], hello: &[u8]) -> Vec<u8> {
    let offered = offered(hello).unwrap_or_default();
    let common = suites.iter().find(|suite| offered.chunks_exact(2).any(|offer| offer == &suite[..]));
    common.map_or_else(|| alert(40), |suite| server_hello(3, *suite))
}

/// The cipher suites of a ClientHello: after record (5) and handshake (4) headers, version (2), random (32) and the
/// session id (RFC 5246, section 7.4.1.2).
fn offered(hello: &[u8]) -> Option<&[u8]> {
    let session = hello.get(43..)?;
    let (length, rest) = session.split_first()?;
    let [high, low, suites @ ..] = rest.get(usize::from(*length)..)? else { return None };
    suites.get(..usize::from(u16::from_be_bytes([*high, *low])))
}

/// A fatal alert.
fn alert(number: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, number]
}

/// A ServerHello of TLS 1.0 (`minor` 1), 1.1 or 1.2, without session and extensions.
fn server_hello(minor: u8, suite: [u8; 2]) -> Vec<u8> {
    [&[22, 3, minor, 0, 42, 2, 0, 0, 38, 3, minor][..], &[0x5a; 32], &[0], &suite, &[0]].concat()
}
