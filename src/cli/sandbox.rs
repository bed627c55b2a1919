//! `xks-preflight sandbox`: the product in one command, without an AWS account.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use rcgen::{KeyPair, PKCS_ED25519};
use secrecy::SecretString;

use super::{Exit, Usage, environment, kms_token, print, serve::stop_on_signal};
use crate::access::Token;
use crate::app::{App, Parts};
use crate::aws::AwsCredentials;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::kms_endpoint::NewKmsCredential;
use crate::sandbox::proxy::WallClock;
use crate::sandbox::scenario::{
    ACCESS_KEY_ID, Actor, Extent, FORSAKEN_SERVICE, FurtherPlace, NEXT_ACCESS_KEY_ID, PRESENT_CLUSTER, REGION,
    RELATED_CLUSTER, SERVICE, STRANGE_CLUSTER, Scenario, Secrets, TEST_KEY, URI_PATH,
};

/// Options of `sandbox`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xks-preflight sandbox\n\n\
    Discovery over accounts and Regions, and updates that somebody else must agree to:\n  \
    xks-preflight sandbox --accounts 3 --regions 2 --approval one\n\n\
    Everything listens on loopback and ends with Ctrl-C. The state directory stays, for looking at.")]
pub struct Arguments {
    /// Where state is kept; by default a new directory below the system's temporary one.
    #[arg(long, env = "XKS_PREFLIGHT_STATE_DIRECTORY", value_name = "DIR")]
    state_directory: Option<PathBuf>,
    /// The simulated KMS takes this port, the proxies the following ones; 0 takes any free ones.
    #[arg(long, env = "XKS_PREFLIGHT_FIRST_PORT", default_value_t = 8490, value_name = "PORT")]
    first_port: u16,
    /// Where API and metrics are served.
    #[arg(long, env = "XKS_PREFLIGHT_API", default_value = "127.0.0.1:8480", value_name = "ADDRESS")]
    api: String,
    /// Where the KMS drop-in endpoint is served.
    #[arg(long, env = "XKS_PREFLIGHT_KMS_ENDPOINT", default_value = "127.0.0.1:8481", value_name = "ADDRESS")]
    kms_endpoint: String,
    /// How many AWS accounts there are, the daemon's own among them: others by a role with an external id.
    #[arg(long, env = "XKS_PREFLIGHT_ACCOUNTS", default_value_t = 1, value_name = "NUMBER",
        value_parser = clap::value_parser!(u8).range(1..=i64::from(Extent::MOST_ACCOUNTS)))]
    accounts: u8,
    /// How many Regions each account has.
    #[arg(long, env = "XKS_PREFLIGHT_REGIONS", default_value_t = 1, value_name = "NUMBER",
        value_parser = clap::value_parser!(u8).range(1..=i64::from(Extent::MOST_REGIONS)))]
    regions: u8,
    /// How many colleagues must agree to an update; each gets a token.
    #[arg(long, env = "XKS_PREFLIGHT_APPROVAL", value_enum, default_value_t)]
    approval: Approval,
}

/// How many people must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Approval {
    /// Nobody.
    #[default]
    None,
    /// One person other than the author.
    One,
    /// Two.
    Two,
}

impl Approval {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
            Self::Two => "two",
        }
    }

    /// The names of those who can agree.
    fn colleagues(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::One => &["your-colleague"],
            Self::Two => &["your-colleague", "another-colleague"],
        }
    }
}

/// Somebody who is known to the daemon, with a token that is theirs.
struct Person {
    name: &'static str,
    roles: &'static [&'static str],
    /// The file below the state directory.
    file: String,
    token: Token,
}

impl Person {
    fn new(name: &'static str, roles: &'static [&'static str], file: String) -> Self {
        Self { name, roles, file, token: Token::from_random(&random()) }
    }
}

/// Runs simulated KMS, proxies and the daemon until a signal.
pub fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(sandbox(arguments))
}

async fn sandbox(arguments: Arguments) -> anyhow::Result<Exit> {
    let directory = state_directory(arguments.state_directory)?;
    let clock: WallClock = Arc::new(|| SystemTime::from(SystemClock.now()));
    let secrets = secrets();
    let first_port = (arguments.first_port != 0).then_some(arguments.first_port);
    let extent = Extent::new(arguments.accounts, arguments.regions);
    let scenario = Box::pin(Scenario::start(&directory, first_port, &secrets, clock, extent)).await?;
    let colleagues = arguments.approval.colleagues();
    // Where approval is asked for, you could give it, too, but for your being the author.
    let roles: &[&str] = if colleagues.is_empty() { &["operator"] } else { &["operator", "approver"] };
    let mut people = vec![Person::new("you", roles, "token.secret".to_owned())];
    people.extend(colleagues.iter().map(|name| Person::new(name, &["approver"], format!("{name}.secret"))));
    let file = directory.join("config.toml");
    let credential = kms_token::new_credential()?;
    let listen = (arguments.api.as_str(), arguments.kms_endpoint.as_str());
    write(&file, &configuration(&scenario, listen, &credential, arguments.approval, &people))?;
    write(&directory.join("kms-endpoint.secret"), credential.secret_access_key.expose())?;
    write(&directory.join("aws.secret"), &secrets.aws_secret_access_key)?;
    write(&directory.join("sealing-key.secret"), &STANDARD.encode(random::<32>()))?;
    for person in &people {
        write(&directory.join(&person.file), person.token.expose())?;
    }
    let signing_key = KeyPair::generate_for(&PKCS_ED25519).context("cannot make a key that signs evidence")?;
    write(&directory.join("audit-key.secret"), &signing_key.serialize_pem())?;
    let config = Config::load(&file, &environment)?;
    let parts = Parts {
        clock: Arc::new(SystemClock),
        seed: rand::random(),
        aws_credentials: Some(AwsCredentials {
            access_key_id: secrets.aws_access_key_id.clone(),
            secret_access_key: SecretString::from(secrets.aws_secret_access_key.clone()),
            session_token: None,
        }),
        perspective: "the sandbox".to_owned(),
        configuration: Some(file),
        crash_after_journal_writes: None,
    };
    let app = Box::pin(App::build(config, parts)).await?;
    let kms = app.kms_address().map(|address| client(&scenario, &address.to_string(), &credential)).unwrap_or_default();
    print(&story(&scenario, &directory, &app.address().to_string(), &people, &kms))?;
    let stop = stop_on_signal(app.reload())?;
    app.run(stop).await?;
    print("\nthe sandbox has ended\n")?;
    Ok(Exit::Done)
}

fn state_directory(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let directory = asked
        .unwrap_or_else(|| std::env::temp_dir().join(format!("xks-preflight-sandbox-{}", SystemClock.now().unix())));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the state directory {}", directory.display()))?;
    if directory.join("journal.sqlite").exists() {
        let rule = "holds the state of an earlier sandbox, whose key store is gone; choose an empty directory";
        return Err(Usage(format!("--state-directory: {} {rule}", directory.display())).into());
    }
    Ok(directory)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    bytes
}

/// The access key id that the simulated AWS knows.
const AWS_ACCESS_KEY_ID: &str = "AKIASANDBOXKMSCALLER";

fn secrets() -> Secrets {
    Secrets {
        proxy_secret: STANDARD.encode(random::<33>()),
        next_proxy_secret: STANDARD.encode(random::<33>()),
        nobodys_secret: STANDARD.encode(random::<30>()),
        aws_access_key_id: AWS_ACCESS_KEY_ID.to_owned(),
        aws_secret_access_key: STANDARD.encode(random::<30>()),
        kmsuser_password: STANDARD.encode(random::<18>()),
    }
}

/// Writes a file for its owner alone.
fn write(file: &Path, contents: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let open = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    open.and_then(|mut open| open.write_all(contents.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The daemon's configuration, as a user would write it.
fn configuration(
    scenario: &Scenario,
    (api, kms_endpoint): (&str, &str),
    credential: &NewKmsCredential,
    approval: Approval,
    people: &[Person],
) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"# The sandbox's daemon, configured as yours would be; everything is simulated and on loopback.

[listen]
api = "{api}"
kms = "{kms_endpoint}"

[journal]
path = "journal.sqlite"
sealing_key = {{ file = "sealing-key.secret" }}

[audit]
signing_key = {{ file = "audit-key.secret" }}

[kms]
region = "{REGION}"
endpoint_url = "{kms}"
poll_interval = "1s"

[vpc]
ec2_endpoint_url = "{ec2}"
elbv2_endpoint_url = "{elbv2}"

[cloudhsm]
endpoint_url = "{cloudhsm}"

[credentials.proxy]
console_file = "proxy.secret.json"

# What it is to be rotated to; the proxies accept both.
[credentials.next]
console_file = "next.secret.json"

[[key_stores]]
id = "{key_store}"
credential = "proxy"
# There for tests, on every proxy: what the current one encrypts with it, a candidate must decrypt.
test_key_id = "{TEST_KEY}"

[preflight]
ca_files = ["ca.pem"]

[monitor]
interval = "5s"

[update]
poll_interval = "250ms"
approval = "{approval}"

# A real KMS takes five minutes, and a daemon before one does not start with less.
[update.rotation]
propagation_wait = "5s"
least_propagation_wait = "5s"
watch_interval = "1s"

[[kms_credentials]]
name = "your-aws-client"
role = "operator"
access_key_id = "{access_key_id}"
secret = {{ file = "kms-endpoint.secret" }}
run_whole_sequence = true
"#,
        kms = scenario.kms.endpoint_url(),
        ec2 = scenario.services.ec2.endpoint_url(),
        elbv2 = scenario.services.elbv2.endpoint_url(),
        cloudhsm = scenario.services.cloudhsm.endpoint_url(),
        key_store = scenario.key_store,
        approval = approval.as_str(),
        access_key_id = credential.access_key_id,
    );
    for Person { name, roles, token, .. } in people {
        let (role, hash) = (roles.join("\", \""), token.hash());
        let _ = write!(text, "\n[[tokens]]\nname = \"{name}\"\nrole = [\"{role}\"]\nsha256 = \"{hash}\"\n");
    }
    accounts(&mut text, scenario);
    for actor in scenario.actors.iter() {
        let host = actor.endpoint.trim_start_matches("https://");
        let _ = write!(text, "\n[[preflight.routes]]\nhost = \"{host}\"\nconnect_to = [\"{}\"]\n", actor.address);
    }
    text
}

/// The further accounts and Regions, as a user would write them.
fn accounts(text: &mut String, scenario: &Scenario) {
    let kms = scenario.kms.endpoint_url();
    for places in scenario.further.places.chunk_by(|one, other| one.account == other.account) {
        let Some(first) = places.first() else { continue };
        let regions: Vec<String> = places.iter().map(|place| format!("\"{}\"", place.region)).collect();
        let (name, regions) = (first.account, regions.join(", "));
        let _ = write!(text, "\n[[accounts]]\nname = \"{name}\"\nregions = [{regions}]\ncredentials = [\"proxy\"]\n");
        if let Some(((arn, external_id), sts)) = first.role.as_ref().zip(scenario.further.sts.as_ref()) {
            let sts = sts.endpoint_url();
            let _ =
                write!(text, "role_arn = \"{arn}\"\nexternal_id = \"{external_id}\"\nsts_endpoint_url = \"{sts}\"\n");
        }
        for FurtherPlace { region, .. } in places {
            let _ = write!(text, "[[accounts.endpoints]]\nregion = \"{region}\"\nkms = \"{kms}\"\n");
        }
    }
}

/// What stands where, and the commands that show the product.
fn story(scenario: &Scenario, directory: &Path, api: &str, people: &[Person], client: &str) -> String {
    let program = program();
    let at = directory.display();
    let mut text = String::new();
    let _ = writeln!(text, "The sandbox runs on loopback; Ctrl-C ends it. Its state is in {at}\n");
    let _ = writeln!(
        text,
        "  simulated KMS   {}   what it was made to do: {}/history",
        scenario.kms.endpoint_url(),
        scenario.kms.endpoint_url().trim_end_matches('/')
    );
    let _ = writeln!(
        text,
        "                  a daemon of yours before it: $SANDBOX/config.toml to begin with, and\n                  \
         AWS_ACCESS_KEY_ID={AWS_ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY=$(cat $SANDBOX/aws.secret)"
    );
    let _ = writeln!(text, "  page, API       http://{api}   sign in to the page with the token below");
    let _ = writeln!(
        text,
        "  key store       {}   CONNECTED to https://current.xks.example.com{URI_PATH}",
        scenario.key_store
    );
    let _ = writeln!(text, "  key store       {}   CONNECTED, in {PRESENT_CLUSTER}", scenario.cloudhsm_key_store);
    for FurtherPlace { account, region, key_store, endpoint, .. } in &scenario.further.places {
        let _ =
            writeln!(text, "  key store       {key_store}   CONNECTED to {endpoint}{URI_PATH}, in {account}/{region}");
    }
    for Person { name, roles, file, token } in people {
        let role = roles.join(" and ");
        let _ = writeln!(text, "  token           {}   ({name}, role {role}; also in {at}/{file})", token.expose());
    }
    text.push('\n');
    for Actor { endpoint, address, about, .. } in scenario.actors.iter() {
        let _ = writeln!(text, "  {endpoint:<38} {address}   {about}");
    }
    let _ = writeln!(
        text,
        "  all with access key id {ACCESS_KEY_ID}, and {NEXT_ACCESS_KEY_ID} beside it; path {URI_PATH}\n"
    );
    for (name, about) in [
        (SERVICE, "VPC endpoint service of candidate.xks.example.com"),
        (FORSAKEN_SERVICE, "the same, but KMS is no longer among its principals"),
        (RELATED_CLUSTER, "CloudHSM cluster, made from a backup of the one in use"),
        (STRANGE_CLUSTER, "CloudHSM cluster of another history\n"),
    ] {
        let _ = writeln!(text, "  {name}   {about}");
    }
    let _ = writeln!(
        text,
        "  curl -X PUT {0}/proxies/current -d listener-closed   makes a proxy misbehave, an empty body makes it well;\n  \
         curl -X DELETE {0}/proxies/current/credentials/{ACCESS_KEY_ID}   makes it refuse a credential;\n  \
         curl {0}/faults   lists all faults\n",
        scenario.control_url()
    );
    let _ = writeln!(text, "In another terminal, in the same directory:\n");
    let _ = writeln!(
        text,
        "export SANDBOX={at} XKS_PREFLIGHT_SERVER=http://{api} XKS_PREFLIGHT_TOKEN_FILE={at}/token.secret\n"
    );
    let _ = writeln!(
        text,
        "Or as any AWS client asks KMS, here with the AWS CLI (the exception of KMS, and nothing is changed):\n\n{client}\n"
    );
    let colleagues = people.get(1..).unwrap_or_default();
    let shown = if colleagues.is_empty() {
        commands(scenario, &program)
    } else {
        approved_commands(scenario, &program, colleagues)
    };
    for (number, (what, command)) in (1..).zip(shown.into_iter().chain(discovered(scenario, &program, colleagues))) {
        let _ = writeln!(text, "# {number}. {what}\n{command}\n");
    }
    text
}

/// A command of the AWS CLI that asks the drop-in endpoint for a change that is refused.
fn client(scenario: &Scenario, endpoint: &str, credential: &NewKmsCredential) -> String {
    let (id, store) = (&credential.access_key_id, &scenario.key_store);
    // As JSON, because the AWS CLI of version 1 fetches what looks like a URL.
    let parameters =
        format!(r#"{{"CustomKeyStoreId": "{store}", "XksProxyUriEndpoint": "https://expired.xks.example.com"}}"#);
    format!(
        "AWS_ENDPOINT_URL_KMS=http://{endpoint} AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY=$(cat $SANDBOX/kms-endpoint.secret) \
         aws --region {REGION} kms update-custom-key-store --cli-input-json '{parameters}'"
    )
}

/// The commands that the README walks through.
fn commands(scenario: &Scenario, program: &str) -> Vec<(&'static str, String)> {
    let check = |name: &str| {
        let address = scenario.actor(name).map(|actor| actor.address.to_string()).unwrap_or_default();
        format!(
            "{program} check --endpoint https://{name}.xks.example.com --connect-to {address} --ca-file $SANDBOX/ca.pem --proxy-config $SANDBOX/proxy.secret.json"
        )
    };
    let store = &scenario.key_store;
    let apply = |name: &str| {
        format!(
            "{program} update apply --key-store {store} --endpoint https://{name}.xks.example.com --acknowledge-outage --wait"
        )
    };
    let to_cluster = |cluster: &str| {
        let hsm = &scenario.cloudhsm_key_store;
        format!("{program} update apply --key-store {hsm} --cloud-hsm-cluster-id {cluster} --acknowledge-outage --wait")
    };
    let kms = scenario.kms.endpoint_url();
    let control = scenario.control_url();
    let history = format!("curl -s {}/history", kms.trim_end_matches('/'));
    vec![
        ("Check a healthy candidate: ready, exit code 0", check("candidate")),
        ("Check a slow one: blocked, in KMS's words, exit code 1", check("slow")),
        (
            "Ask for an update to a candidate with an expired certificate: blocked, and KMS was not made to do anything",
            format!("{}; {history}", apply("expired")),
        ),
        (
            "Ask for an update to a proxy with other key material under the same key ids: blocked by key.continuity",
            apply("swapped-keys"),
        ),
        (
            "The same on the worst day, when the current proxy is gone: a canary kept in advance gives it away",
            format!(
                "curl -s -X PUT {control}/proxies/current -d listener-closed; {}; curl -s -X PUT {control}/proxies/current",
                apply("swapped-keys")
            ),
        ),
        (
            "Move it behind a VPC endpoint service that KMS may not use: blocked before any disconnect",
            format!("{} --connectivity vpc --vpc-endpoint-service {FORSAKEN_SERVICE}; {history}", apply("candidate")),
        ),
        (
            "Update to the healthy candidate and follow it to `verified`: exactly Disconnect, Update, Connect",
            format!("{}; {history}", apply("candidate")),
        ),
        (
            "Give the CloudHSM key store a cluster that does not share its keys: blocked by cloudhsm.related",
            to_cluster(STRANGE_CLUSTER),
        ),
        ("Give it a related one, and follow it to `verified`", to_cluster(RELATED_CLUSTER)),
        (
            "Rotate the proxy's credential: KMS has the new one, and now you must remove the former one, exit code 3",
            format!("{program} update apply --key-store {store} --credential-source next --rotate --wait | tee $SANDBOX/rotation"),
        ),
        (
            "Remove it at the proxy and say so; followed to `verified`: it is proven refused",
            format!(
                "curl -s -X DELETE {control}/proxies/candidate/credentials/{ACCESS_KEY_ID}; {program} update removed $(grep -om1 'update-[0-9a-f-]*' $SANDBOX/rotation) --wait"
            ),
        ),
        (
            "Look at the metrics",
            "curl -s $XKS_PREFLIGHT_SERVER/metrics | grep -E '^xks_preflight_(probe_success|preflights_total|updates_total|canary)'".to_owned(),
        ),
    ]
}

/// The commands that show how an update waits for somebody else.
fn approved_commands(scenario: &Scenario, program: &str, colleagues: &[Person]) -> Vec<(&'static str, String)> {
    let store = &scenario.key_store;
    let id = "$(grep -om1 'update-[0-9a-f-]*' $SANDBOX/asked)";
    let digest = format!(
        "$({program} update status {id} --output json | grep -oE '\"approval_digest\": \"[0-9a-f]*\"' | grep -oE '[0-9a-f]{{64}}')"
    );
    let approve = format!("{program} update approve {id} --digest {digest} --acknowledge-outage");
    let mut shown = vec![
        (
            "Ask for an update: it passes its pre-flight, and then it waits for somebody else",
            format!(
                "{program} update apply --key-store {store} --endpoint https://candidate.xks.example.com --acknowledge-outage > $SANDBOX/asked; sleep 5; {program} update status {id}"
            ),
        ),
        ("Agree to your own update: refused, exit code 4", approve.clone()),
    ];
    for (at, colleague) in colleagues.iter().enumerate() {
        let last = at + 1 == colleagues.len();
        let (what, wait) = if last {
            ("Agree as the last colleague that is needed, and follow it to `verified`", " --wait")
        } else {
            ("Agree as your colleague: it waits for one more", "")
        };
        shown.push((what, format!("XKS_PREFLIGHT_TOKEN_FILE=$SANDBOX/{} {approve}{wait}", colleague.file)));
    }
    shown
}

/// The commands that show further accounts and Regions, if there are any.
fn discovered(scenario: &Scenario, program: &str, colleagues: &[Person]) -> Vec<(&'static str, String)> {
    let Some(place) = scenario.further.places.last() else { return Vec::new() };
    let mut shown = vec![(
        "Look at every account and Region: each is asked by itself, and its key stores are probed without being configured",
        "curl -s $XKS_PREFLIGHT_SERVER/metrics | grep -E '^xks_preflight_(discovery_failing|probe_success|key_store_info)'"
            .to_owned(),
    )];
    if colleagues.is_empty() {
        let FurtherPlace { key_store, candidate, .. } = place;
        shown.push((
            "Update a key store of the last account and Region: Disconnect, Update, Connect there and nowhere else",
            format!(
                "{program} update apply --key-store {key_store} --endpoint {candidate} --acknowledge-outage --wait"
            ),
        ));
    }
    shown
}

/// How the reader can call this program again: relative to where they are, if it is below.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("xks-preflight"));
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}
