//! A name server on loopback that answers as it is told: real messages over UDP and TCP.
//!
//! It knows the names it was given and says NXDOMAIN to all others. An alias is followed inside the zone, as a resolver
//! would, so that one answer holds the whole chain; a loop ends where it comes back. An answer that does not fit the
//! asker's UDP size is truncated, and whole over TCP. Only the shape of messages is a library's; what is answered is
//! written here.
//!
//! Nothing here decides anything for the product. What cannot be read is not answered.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Questions that are answered at the same time; more are left unanswered.
const MOST_QUESTIONS: usize = 256;

/// The longest chain of aliases that is followed in one answer.
const LONGEST_CHAIN: usize = 16;

/// How long a TCP connection may stay.
const CONNECTION_TIME: Duration = Duration::from_mins(1);

/// What an answer may have over UDP when the asker does not say.
const UDP_SIZE: u16 = 512;

const TTL_SECONDS: u32 = 60;

/// What the server makes of a question about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameAnswer {
    /// These addresses: the A or the AAAA records of them, whichever was asked for; none is no data.
    Addresses(Vec<IpAddr>),
    /// A CNAME to this name, and what is known of that.
    Alias(String),
    /// A response code instead of an answer: SERVFAIL, REFUSED, NXDOMAIN.
    Code(ResponseCode),
    /// Nothing at all.
    Silence,
    /// Bytes that are no DNS message.
    Garbage,
    /// The right answer to another question.
    AnotherQuestion,
    /// The answer, so much later.
    Late(Duration, Box<NameAnswer>),
    /// Truncated over UDP, the answer over TCP.
    OnlyOverTcp(Box<NameAnswer>),
    /// One answer for A and another for AAAA.
    ByFamily(Box<NameAnswer>, Box<NameAnswer>),
}

/// A name server that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox's name server cannot listen on {address}; free the port or choose another")]
pub struct DnsStartError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A name server, until it is dropped.
#[derive(Debug)]
pub struct SandboxDns {
    address: SocketAddr,
    zone: Arc<Zone>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Zone {
    names: Mutex<BTreeMap<String, NameAnswer>>,
    asked: Mutex<Vec<(String, bool)>>,
}

impl SandboxDns {
    /// Listens on an address, port 0 taking any that is free for both UDP and TCP.
    pub async fn start(address: SocketAddr) -> Result<Self, DnsStartError> {
        let mut bound = bind_both(address).await;
        // A port that is free for TCP may be taken for UDP.
        for _ in 0..8 {
            if bound.is_ok() || address.port() != 0 {
                break;
            }
            bound = bind_both(address).await;
        }
        let (tcp, udp, address) = bound.map_err(|source| DnsStartError { address, source })?;
        let zone = Arc::new(Zone::default());
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve_udp(udp, Arc::clone(&zone))));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve_tcp(tcp, Arc::clone(&zone))));
        Ok(Self { address, zone, _stop: stop.drop_guard() })
    }

    /// Where it listens, over UDP and TCP.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers so for this name.
    pub fn set(&self, name: &str, answer: NameAnswer) {
        self.zone.names.lock().unwrap_or_else(PoisonError::into_inner).insert(key(name), answer);
    }

    /// The questions so far: name and type, and whether over TCP.
    pub fn asked(&self) -> Vec<(String, bool)> {
        self.zone.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn bind_both(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket, SocketAddr)> {
    let tcp = TcpListener::bind(address).await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    Ok((tcp, udp, address))
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let socket = Arc::new(socket);
    let questions = Arc::new(Semaphore::new(MOST_QUESTIONS));
    let mut answering = JoinSet::new();
    let mut buffer = [0; 4096];
    loop {
        while answering.try_join_next().is_some() {}
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(permit) = Arc::clone(&questions).try_acquire_owned() else { continue };
        let (question, socket, zone) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&zone));
        answering.spawn(async move {
            if let Some(bytes) = zone.answer(&question, false).await {
                // An asker that has gone away is no fault of the server.
                let _ = socket.send_to(&bytes, from).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    let connections = Arc::new(Semaphore::new(MOST_QUESTIONS));
    let mut serving = JoinSet::new();
    loop {
        while serving.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let zone = Arc::clone(&zone);
        serving.spawn(async move {
            // A connection that ends early ends only itself.
            let _ = tokio::time::timeout(CONNECTION_TIME, converse(stream, &zone)).await;
            drop(permit);
        });
    }
}

/// Questions one after the other, each with two bytes of length before it (RFC 1035, 4.2.2).
async fn converse(mut stream: TcpStream, zone: &Zone) -> io::Result<()> {
    loop {
        let mut question = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut question).await?;
        if let Some(bytes) = zone.answer(&question, true).await {
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            stream.write_u16(length).await?;
            stream.write_all(&bytes).await?;
        }
    }
}

impl Zone {
    /// What goes back, if anything does.
    async fn answer(&self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let asked = Message::from_vec(question).ok()?;
        let query = asked.queries.first()?.clone();
        let note = (format!("{} {}", key(&query.name().to_utf8()), query.query_type()), over_tcp);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        let mut truncated = false;
        let mut told = self.told(query.name());
        loop {
            told = match told {
                NameAnswer::Late(by, then) => {
                    tokio::time::sleep(by).await;
                    *then
                }
                NameAnswer::OnlyOverTcp(then) => {
                    truncated = true;
                    *then
                }
                NameAnswer::ByFamily(a, aaaa) => *if query.query_type() == RecordType::A { a } else { aaaa },
                NameAnswer::Silence => return None,
                NameAnswer::Garbage => return Some(b"this is no DNS message".to_vec()),
                NameAnswer::AnotherQuestion => {
                    let other = Query::query(Name::from_ascii("another.example.net.").ok()?, query.query_type());
                    let mut message = blank(&asked, &other);
                    let address = IpAddr::from([127, 0, 0, 1]);
                    message.answers.extend(address_record(other.name(), address, query.query_type()));
                    return message.to_vec().ok();
                }
                told @ (NameAnswer::Addresses(_) | NameAnswer::Alias(_) | NameAnswer::Code(_)) => {
                    let message = self.message(&asked, &query, told);
                    let whole = message.to_vec().ok()?;
                    let room = asked.edns.as_ref().map_or(UDP_SIZE, |edns| edns.max_payload().max(UDP_SIZE));
                    let cut = !over_tcp && (truncated || whole.len() > usize::from(room));
                    return if cut { message.truncate().to_vec().ok() } else { Some(whole) };
                }
            };
        }
    }

    fn told(&self, name: &Name) -> NameAnswer {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&key(&name.to_utf8())).cloned().unwrap_or(NameAnswer::Code(ResponseCode::NXDomain))
    }

    /// The records of the name, or of the name at the end of its aliases.
    fn message(&self, asked: &Message, query: &Query, mut told: NameAnswer) -> Message {
        let mut message = blank(asked, query);
        let mut name = query.name().clone();
        while let NameAnswer::Alias(target) = &told {
            let Ok(mut target) = Name::from_ascii(target) else { break };
            target.set_fqdn(true);
            let alias = RData::CNAME(CNAME(target.clone()));
            message.answers.push(Record::from_rdata(name, TTL_SECONDS, alias));
            name = target;
            told = self.told(&name);
            let seen = message.answers.iter().any(|record| record.name == name);
            if seen || message.answers.len() >= LONGEST_CHAIN {
                return message;
            }
        }
        match told {
            NameAnswer::Addresses(addresses) => {
                let records = addresses.into_iter().filter_map(|ip| address_record(&name, ip, query.query_type()));
                message.answers.extend(records);
            }
            NameAnswer::Code(code) => message.metadata.response_code = code,
            _ => {}
        }
        if message.answers.is_empty() {
            // What says that there is nothing comes with the zone's SOA (RFC 2308).
            let zone = name.base_name();
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, 60);
            message.authorities.push(Record::from_rdata(zone, TTL_SECONDS, RData::SOA(soa)));
        }
        message
    }
}

/// An answer without records.
fn blank(asked: &Message, query: &Query) -> Message {
    let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.queries.push(query.clone());
    message
}

/// The record of an address, if records of its family were asked for.
fn address_record(name: &Name, address: IpAddr, asked: RecordType) -> Option<Record> {
    let data = match (address, asked) {
        (IpAddr::V4(v4), RecordType::A) => RData::A(A(v4)),
        (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(AAAA(v6)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL_SECONDS, data))
}
