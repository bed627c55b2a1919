//! A ClientHello by hand, with the cipher suites of former days.
//!
//! Our TLS library offers none of them, so a server that takes nothing else refuses it without a reason. Asked for
//! its choice among them, it names one; the conversation ends there, nothing is encrypted and no request is sent.

use aws_lc_rs::rand;
use rustls::CipherSuite;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::deadline::Deadline;

/// IANA's numbers of suites of TLS 1.2 and before that neither KMS nor our library offers: CBC, finite-field
/// Diffie-Hellman, RSA key transport, triple DES, RC4, none.
const SUITES: [u16; 35] = [
    0xc02c, 0xc030, 0xc024, 0xc028, 0xc00a, 0xc014, 0xc023, 0xc027, 0xc009, 0xc013, 0x009f, 0x009e, 0x006b, 0x0067,
    0x0039, 0x0033, 0xccaa, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x0041, 0x0084, 0xc008, 0xc012, 0x0016,
    0x000a, 0xc007, 0xc011, 0x0005, 0x0004, 0x003b, 0x0002,
];

/// The longest ServerHello that is read: more than any without a dozen extensions.
const LONGEST_ANSWER: usize = 512;

/// What a server chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldChoice {
    /// 3.1 is TLS 1.0, 3.2 is 1.1, 3.3 is 1.2.
    pub(super) version: [u8; 2],
    pub(super) suite: CipherSuite,
}

/// Offers them as `host`; `None` if the server takes none of them either, or answers otherwise.
pub(super) async fn choice(mut socket: TcpStream, host: &str, deadline: Deadline) -> Option<OldChoice> {
    let hello = client_hello(host)?;
    let exchange = async {
        socket.write_all(&hello).await.ok()?;
        let mut answer = Vec::new();
        let mut bounded = (&mut socket).take(LONGEST_ANSWER as u64);
        while server_hello(&answer).is_none() && bounded.read_buf(&mut answer).await.ok()? > 0 {}
        server_hello(&answer)
    };
    deadline.bound(exchange).await.result?
}

/// Record and handshake headers, then version, random, no session, suites, no compression, extensions (RFC 5246,
/// section 7.4.1.2). The key agreement groups and signatures are those that old servers know, too.
fn client_hello(host: &str) -> Option<Vec<u8>> {
    let mut random = [0; 32];
    rand::fill(&mut random).ok()?;
    let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let name = [&[0][..], &prefixed(host.as_bytes())?].concat();
    let extensions = [
        extension(0, &prefixed(&name)?)?,
        // secp256r1, secp384r1, secp521r1
        extension(10, &prefixed(&[0, 23, 0, 24, 0, 25])?)?,
        // Uncompressed points.
        extension(11, &[1, 0])?,
        // ECDSA and RSA with SHA-256, SHA-384, SHA-512 and SHA-1.
        extension(13, &prefixed(&[4, 3, 4, 1, 5, 3, 5, 1, 6, 3, 6, 1, 2, 3, 2, 1])?)?,
    ];
    let body = [&[3, 3][..], &random, &[0], &prefixed(&suites)?, &[1, 0], &prefixed(&extensions.concat())?].concat();
    let handshake = [&[1, 0][..], &prefixed(&body)?].concat();
    Some([&[22, 3, 1][..], &prefixed(&handshake)?].concat())
}

fn extension(number: u8, content: &[u8]) -> Option<Vec<u8>> {
    Some([&[0, number][..], &prefixed(content)?].concat())
}

/// With its length in two bytes before it.
fn prefixed(content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    Some([&length.to_be_bytes()[..], content].concat())
}

/// Version and suite, once enough of a ServerHello has come: record header (5), handshake header (4), version (2),
/// random (32), session id, suite (2).
fn server_hello(answer: &[u8]) -> Option<OldChoice> {
    let [22, 3, _, _, _, 2, _, _, _, major, minor, rest @ ..] = answer else { return None };
    let (session, rest) = rest.get(32..)?.split_first()?;
    let [high, low] = *rest.get(usize::from(*session)..)?.first_chunk()?;
    Some(OldChoice { version: [*major, *minor], suite: CipherSuite::from(u16::from_be_bytes([high, low])) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 11] = [22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];

    #[test]
    fn a_choice_is_read_once_it_is_there() {
        let whole = [&HEAD[..], &[7; 32], &[2, 9, 9], &[0xc0, 0x14], &[0]].concat();
        let choice = OldChoice { version: [3, 3], suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA };
        for length in 0..whole.len() {
            let enough = length >= whole.len() - 1;
            assert_eq!(server_hello(&whole[..length]), enough.then_some(choice), "{length}");
        }
        assert_eq!(server_hello(&[21, 3, 3, 0, 2, 2, 40]), None);
        assert_eq!(server_hello(b"HTTP/1.1 400 Bad Request\r\n"), None);
    }

    #[test]
    fn the_hello_is_what_a_tls_server_reads() {
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut client_hello("xks.example.com").unwrap().as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap().expect("a whole hello");
        let hello = accepted.client_hello();
        assert_eq!(hello.server_name(), Some("xks.example.com"));
        assert_eq!(hello.cipher_suites().len(), SUITES.len());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_breaks_the_reader(answer in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = server_hello(&answer);
            let _ = server_hello(&[&HEAD[..], &answer].concat());
        }
    }
}
