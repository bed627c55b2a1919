//! PostgreSQL servers, started by the tests themselves on a loopback port, and gone with them.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::RootCertStore;
use secrecy::SecretString;
use xks_preflight::journal::{PostgresAddress, PostgresJournal, PostgresOptions, SealingKey};

pub(crate) const USER: &str = "gate";
pub(crate) const PASSWORD: &str = "PostgresPasswordDoNotLeak0123456789";

/// A server with its data in a directory of its own.
pub(crate) struct Server {
    directory: PathBuf,
    port: u16,
    /// Stops the server and removes its data once nobody holds its standard input any more, however this process ends.
    _watch: Child,
}

/// A database on a server.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) port: u16,
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

/// The server that tests share which do no harm to it.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// A program of the newest server that is installed.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut programs: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin").join(name)).collect();
    programs.retain(|program| program.exists());
    programs.sort();
    programs.pop().unwrap_or_else(|| {
        panic!("{name} of PostgreSQL is missing: install Debian's package postgresql, as tests/run does")
    })
}

/// A command as somebody whom the server lets start it: it refuses root.
pub(crate) fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn server_setting(data: &Path, setting: &str) {
    let file = data.join("postgresql.auto.conf");
    done(unprivileged("sh").args(["-c", "echo \"$1\" >> \"$2\"", "sh", setting]).arg(file));
}

impl Server {
    /// A new one, running.
    pub(crate) fn start() -> Self {
        let made = done(unprivileged("mktemp").args(["-d", "/tmp/xks-preflight-postgres.XXXXXX"]));
        let directory = PathBuf::from(made.trim());
        let data = directory.join("data");
        let script = "cat >/dev/null; \"$1\" -D \"$2\" -m immediate -w stop >/dev/null 2>&1; rm -rf \"$3\"";
        let mut watch = unprivileged("sh");
        watch.args(["-c", script, "sh"]).arg(program("pg_ctl")).arg(&data).arg(&directory);
        // A group of its own, so that whoever interrupts the tests does not interrupt it.
        let watch = watch.stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let password = directory.join("password");
        done(unprivileged("sh").args(["-c", "printf %s \"$1\" > \"$2\"", "sh", PASSWORD]).arg(&password));
        done(
            unprivileged(program("initdb"))
                .arg("-D")
                .arg(&data)
                .args(["-U", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
                .arg(format!("--pwfile={}", password.display())),
        );
        done(unprivileged("rm").arg(&password));
        // No test takes the power away, and the suite's time is for other things. In the file, so that it can be set.
        server_setting(&data, "fsync = off");
        // Free when looked for; a server that finds it taken is started on another.
        let mut server = Self { directory, port: 0, _watch: watch };
        for _ in 0..10 {
            server.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_run() {
                return server;
            }
        }
        panic!("no server runs: {}", server.log());
    }

    /// Starts it again after [`Server::stop`].
    pub(crate) fn run_again(&self) {
        assert!(self.try_run(), "{}", self.log());
    }

    /// Stops it as if it had crashed.
    pub(crate) fn stop(&self) {
        done(unprivileged(program("pg_ctl")).arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]));
    }

    /// A setting for everybody who connects from now on, and for those who are connected.
    pub(crate) fn set(&self, setting: &str) {
        server_setting(&self.data(), setting);
        done(unprivileged(program("pg_ctl")).arg("-D").arg(self.data()).arg("reload"));
    }

    /// Takes TLS from now on, with this certificate; restarts it.
    pub(crate) fn take_tls(&self, chain_pem: &str, key_pem: &str) {
        for (name, text) in [("server.crt", chain_pem), ("server.key", key_pem)] {
            let script = "umask 077; printf %s \"$1\" > \"$2\"";
            done(unprivileged("sh").args(["-c", script, "sh", text]).arg(self.data().join(name)));
        }
        server_setting(&self.data(), "ssl = on");
        self.stop();
        self.run_again();
    }

    /// Lets nobody into this database without TLS.
    pub(crate) fn refuse_clear_text(&self, database: &Database) {
        let rule = format!("hostnossl {} all all reject", database.name);
        let script = "cat \"$2\" > \"$2.old\"; { echo \"$1\"; cat \"$2.old\"; } > \"$2\"";
        done(unprivileged("sh").args(["-c", script, "sh", &rule]).arg(self.data().join("pg_hba.conf")));
        self.stop();
        self.run_again();
    }

    /// A new, empty database with its tables in a directory of its own, which the server must own.
    pub(crate) async fn database_in(&self, directory: &Path) -> Database {
        let database = self.database().await;
        let any = Database { name: "postgres".into(), ..database.clone() };
        any.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", directory.display())).await;
        any.execute(&format!("ALTER DATABASE {} SET TABLESPACE small", database.name)).await;
        database
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn try_run(&self) -> bool {
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c max_connections=300 \
             -c shared_buffers=32MB",
            self.port,
            self.directory.display()
        );
        unprivileged(program("pg_ctl"))
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.directory.join("log"))
            .args(["-w", "-t", "60", "-o", &options, "start"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// A new, empty database.
    pub(crate) async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("journal_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let any = Database { port: self.port, name: "postgres".into(), directory: self.data() };
        any.execute(&format!("CREATE DATABASE {name}")).await;
        Database { name, ..any }
    }
}

impl Database {
    /// The URL, without the password.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// A journal in it.
    pub(crate) async fn journal(&self, sealing_key: Option<SealingKey>) -> PostgresJournal {
        PostgresJournal::open(self.options(sealing_key)).await.unwrap()
    }

    pub(crate) fn options(&self, sealing_key: Option<SealingKey>) -> PostgresOptions {
        let address = PostgresAddress::parse(&self.url()).unwrap();
        PostgresOptions {
            address: address.with_password(&SecretString::from(PASSWORD.to_owned())),
            roots: RootCertStore::empty(),
            sealing_key,
            crash_after_writes: None,
        }
    }

    /// Runs SQL on a connection of its own.
    pub(crate) async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        let mut config: tokio_postgres::Config = self.url().parse().unwrap();
        let (client, connection) = config.password(PASSWORD).connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The bytes of its files, once everything is in them.
    pub(crate) async fn files(&self) -> Vec<u8> {
        let client = self.client().await;
        client.batch_execute("CHECKPOINT").await.unwrap();
        let sql = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
        let oid: String = client.query_one(sql, &[]).await.unwrap().get(0);
        let files = std::fs::read_dir(self.directory.join("base").join(oid)).unwrap();
        files.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    /// Runs one of PostgreSQL's programs on it, with these arguments more.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str], file: &Path) {
        done(
            Command::new(program(name))
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", &self.name])
                .args(arguments)
                .arg(file)
                .env("PGPASSWORD", PASSWORD),
        );
    }
}
