//! Where the server is, and how a connection to it must be made.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::CONNECT;

/// A server and a database on it, and who connects: what a URL says, with the password apart.
#[derive(Clone, Debug)]
pub struct PostgresAddress(Config);

/// Why a text is no address of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It cannot be read.
    #[error("must be postgresql://USER@HOST[:PORT]/DATABASE, or with ?host=/DIRECTORY for a socket")]
    Malformed,
    /// It has the password in it.
    #[error("must not have the password in it: give it in postgres_password")]
    Password,
    /// No host.
    #[error("must name a host, or the directory of a socket")]
    NoHost,
    /// No user or no database.
    #[error("must name a user and a database")]
    Incomplete,
    /// Others could read what is sent.
    #[error("must not switch TLS off for a host that is not on this machine")]
    ClearText,
}

impl PostgresAddress {
    /// Reads a URL. A connection that leaves the machine is made with TLS, whatever the URL says; on the machine, TLS is
    /// used when the URL has `sslmode=require`.
    pub fn parse(url: &str) -> Result<Self, InvalidAddress> {
        let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
        let mut config: Config = url.parse().ok().filter(|_| is_url).ok_or(InvalidAddress::Malformed)?;
        if config.get_password().is_some() {
            return Err(InvalidAddress::Password);
        }
        if config.get_hosts().is_empty() {
            return Err(InvalidAddress::NoHost);
        }
        if config.get_user().is_none_or(str::is_empty) || config.get_dbname().is_none_or(str::is_empty) {
            return Err(InvalidAddress::Incomplete);
        }
        let local = config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        if !local && url.contains("sslmode=disable") {
            return Err(InvalidAddress::ClearText);
        }
        let wanted = config.get_ssl_mode() == SslMode::Require;
        config.ssl_mode(if local && !wanted { SslMode::Disable } else { SslMode::Require });
        config.application_name("xks-preflight");
        config.connect_timeout(CONNECT).tcp_user_timeout(Duration::from_secs(10));
        config.keepalives(true).keepalives_idle(Duration::from_secs(10));
        Ok(Self(config))
    }

    /// With a password.
    #[must_use]
    pub fn with_password(mut self, password: &SecretString) -> Self {
        self.0.password(password.expose_secret());
        self
    }

    /// Whether connections are made with TLS.
    pub fn uses_tls(&self) -> bool {
        self.0.get_ssl_mode() == SslMode::Require
    }

    pub(super) fn into_config(self) -> Config {
        self.0
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// `postgresql://USER@HOST:PORT/DATABASE`, for people.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}@", self.0.get_user().unwrap_or_default())?;
        for (index, host) in self.0.get_hosts().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(directory) => write!(f, "{comma}{}", directory.display())?,
            }
            if let Some(port) = self.0.get_ports().get(index).or(self.0.get_ports().first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_encrypted() {
        for (url, tls) in [
            ("postgresql://gate@127.0.0.1:5432/journal", false),
            ("postgresql://gate@localhost/journal", false),
            ("postgresql://gate@[::1]/journal", false),
            ("postgresql:///journal?host=/run/postgresql&user=gate", false),
            ("postgresql://gate@127.0.0.1/journal?sslmode=require", true),
            ("postgresql://gate@db.example.com/journal", true),
            ("postgresql://gate@localhost,db.example.com/journal", true),
            ("postgresql://gate@localhost/journal?hostaddr=192.0.2.1", true),
            ("postgresql://gate@10.0.0.1/journal?sslmode=prefer", true),
        ] {
            assert_eq!(PostgresAddress::parse(url).map(|address| address.uses_tls()), Ok(tls), "{url}");
        }
    }

    #[test]
    fn each_fault_has_its_rule() {
        for (url, fault) in [
            ("", InvalidAddress::Malformed),
            ("host=localhost user=gate", InvalidAddress::Malformed),
            ("mysql://gate@localhost/journal", InvalidAddress::Malformed),
            ("postgresql://gate:TestSecretDoNotLeak@localhost/journal", InvalidAddress::Password),
            ("postgresql:///journal?user=gate", InvalidAddress::NoHost),
            ("postgresql://localhost/journal", InvalidAddress::Incomplete),
            ("postgresql://gate@localhost", InvalidAddress::Incomplete),
            ("postgresql://gate@db.example.com/journal?sslmode=disable", InvalidAddress::ClearText),
        ] {
            assert_eq!(PostgresAddress::parse(url).map(|address| address.to_string()), Err(fault), "{url}");
        }
    }

    #[test]
    fn shown_without_the_password() {
        let address = PostgresAddress::parse("postgresql://gate@127.0.0.1:5433/journal").unwrap();
        let address = address.with_password(&SecretString::from("TestSecretDoNotLeak".to_owned()));
        assert_eq!(address.to_string(), "postgresql://gate@127.0.0.1:5433/journal");
        assert!(!format!("{address:?}").contains("DoNotLeak"));
    }
}
