//! Bad configurations and what is said about each.

/// What is appended to a good configuration, and the one fault it gives; lines count from the good part's two.
pub(super) const FAULTS: &[(&str, &str)] = &[
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"tuesday\"",
        "line 8: key_stores[0].candidates[0]: must have something that is to differ: endpoint, path, connectivity, credential or another",
    ),
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"on tuesday\"\npath = \"/b/kms/xks/v1\"",
        "line 9: key_stores[0].candidates[0].name: must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore (found \"on tuesday\")",
    ),
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"tuesday\"\ncredential = \"b\"",
        "line 10: key_stores[0].candidates[0].credential: must name one of [credentials.NAME] (found \"b\")",
    ),
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"tuesday\"\nconnectivity = \"public\"\nvpc_endpoint_service = \"com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0\"",
        "line 8: key_stores[0].candidates[0].connectivity: must be \"vpc\", or left out, beside a VPC endpoint service",
    ),
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"tuesday\"\nconnectivity = \"both\"",
        "line 10: key_stores[0].candidates[0].connectivity: must be \"public\" or \"vpc\" (found \"both\")",
    ),
    (
        "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n[[key_stores.candidates]]\nname = \"tuesday\"\npath = \"/b/kms/xks/v1\"\n[[key_stores.candidates]]\nname = \"tuesday\"\npath = \"/c/kms/xks/v1\"",
        "line 12: key_stores[0].candidates[1].name: is there twice",
    ),
    (
        "[update]\nrequire_green = \"1h\"\ngreen_gap = \"90s\"",
        "line 3: update.green_gap: must be at least twice monitor.interval, which is 1m: no candidate would ever stay green (found \"90s\")",
    ),
    (
        "[[key_stores]]\nid = \"cks-1\"\nregion = \"euc1\"\ncredential = \"a\"\n[credentials.a]\nconsole_file = \"proxy-configuration.json\"",
        "line 5: key_stores[0].region: must look like an AWS Region, for example eu-central-1 (found \"euc1\")",
    ),
    ("observe = true", "line 3: kms.observe: is not a key; did you mean observe_only?"),
    (
        "zzz = true",
        "line 3: kms.zzz: is not a key; the keys here are region, endpoint_url, poll_interval, timeout, describe_key_rate, permissions_of, iam_endpoint_url, credentials, observe_only",
    ),
    (
        "TestSecretDoNotLeak0123456789012345678901234567 = 1",
        "line 3: kms.<a key of 47 characters>: is not a key; the keys here are region, endpoint_url, poll_interval, timeout, describe_key_rate, permissions_of, iam_endpoint_url, credentials, observe_only",
    ),
    ("observe_only = \"yes\"", "line 3: kms.observe_only: must be true or false, not string"),
    (
        "poll_interval = 60",
        "line 3: kms.poll_interval: must be a duration from \"1s\" to \"1h\", such as \"250ms\", \"30s\" or \"5m\", not integer",
    ),
    (
        "poll_interval = \"5 minutes\"",
        "line 3: kms.poll_interval: must be a duration from \"1s\" to \"1h\", such as \"250ms\", \"30s\" or \"5m\" (found \"5 minutes\")",
    ),
    (
        "poll_interval = \"0s\"",
        "line 3: kms.poll_interval: must be a duration from \"1s\" to \"1h\", such as \"250ms\", \"30s\" or \"5m\" (found \"0s\")",
    ),
    (
        "endpoint_url = \"http://user:DoNotLeak@kms.example.com\"",
        "line 3: kms.endpoint_url: must be https://HOST[:PORT], or http:// with a loopback address: requests to KMS may hold a secret",
    ),
    ("[monitor]\nsamples = 0", "line 4: monitor.samples: must be a whole number from 1 to 20 (found 0)"),
    ("[monitor]\nhistory = -1", "line 4: monitor.history: must be a whole number from 1 to 10000 (found -1)"),
    (
        "[monitor]\nhistory = 99999999999999999999999",
        "line 4: monitor.history: must be a whole number from 1 to 10000 (found 99999999999999999999999)",
    ),
    (
        "[http]\nbody_limit = \"2GiB\"",
        "line 4: http.body_limit: must be a size from \"1KiB\" to \"1MiB\", such as \"64KiB\" (found \"2GiB\")",
    ),
    (
        "[[update.windows]]\ndays = [\"sat\", \"Sun\"]\nfrom = \"22:00\"\nto = \"04:00\"\ntime_zone = \"UTC\"",
        "line 4: update.windows[0].days[1]: must be one of mon, tue, wed, thu, fri, sat, sun (found \"Sun\")",
    ),
    (
        "[[update.windows]]\ndays = [\"sat\"]\nfrom = \"25:00\"\nto = \"04:00\"\ntime_zone = \"UTC\"",
        "line 5: update.windows[0].from: must be a time of day, HH:MM from 00:00 to 23:59 (found \"25:00\")",
    ),
    (
        "[[update.windows]]\ndays = [\"sat\"]\nfrom = \"22:00\"\nto = \"04:00\"\ntime_zone = \"Berlin\"",
        "line 7: update.windows[0].time_zone: must be a time zone of the IANA database, for example Europe/Berlin or UTC (found \"Berlin\")",
    ),
    (
        "[update]\napproval = \"three\"",
        "line 4: update.approval: must be \"none\" or \"one\" or \"two\" (found \"three\")",
    ),
    (
        "[update.rotation]\npropagation_wait = \"2m\"",
        "line 3: update.rotation.propagation_wait: must be at least least_propagation_wait, which is 5m",
    ),
    (
        "[update.rotation]\nleast_propagation_wait = \"0s\"",
        "line 4: update.rotation.least_propagation_wait: must be a duration from \"1s\" to \"1d\", such as \"250ms\", \"30s\" or \"5m\" (found \"0s\")",
    ),
    (
        "[update]\napproval = \"one\"",
        "line 4: update.approval: needs somebody who may approve, and 0 of [[tokens]], [[client_certificates]] and [[oidc]] may: give the role approver (xks-preflight token new --role approver), or no update can begin",
    ),
    (
        "[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\napproval = \"two\"\n[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[tokens]]\nname = \"a\"\nrole = \"admin\"\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 6: key_stores[0].approval: needs two people who may approve, and 1 of [[tokens]], [[client_certificates]] and [[oidc]] may: give the role approver (xks-preflight token new --role approver), or no update can begin",
    ),
    (
        "[preflight]\nquorum = 1",
        "line 3: preflight.quorum: must be at most the number of [[perspectives]], which is 0: more can never agree",
    ),
    (
        "[preflight]\nquorum = 2\n[[perspectives]]\nname = \"eu\"\nurl = \"http://127.0.0.1:8480\"",
        "line 3: preflight.quorum: must be at most the number of [[perspectives]], which is 1: more can never agree",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"http://user:DoNotLeak@gate.example.com\"",
        "line 5: perspectives[0].url: must be https://HOST[:PORT][/PATH], or http:// with a loopback address: what is asked holds a secret",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"https://gate.example.com\"",
        "line 3: perspectives[0]: needs client_certificate_file and client_key_file, or token: another daemon asks who calls",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"https://gate.example.com\"\nclient_key_file = \"garbage\"\ntoken = { file = \"garbage\" }",
        "line 6: perspectives[0].client_key_file: needs client_certificate_file beside it",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"https://gate.example.com\"\nca_file = \"garbage\"\ntoken = { file = \"garbage\" }",
        "line 6: perspectives[0].ca_file: holds no certificates in PEM",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"http://127.0.0.1:1\"\n[[perspectives]]\nname = \"eu\"\nurl = \"http://127.0.0.1:2\"",
        "line 6: perspectives[1].name: is there twice (found \"eu\")",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"http://127.0.0.1:1\"\n[[perspectives]]\nname = \"us\"\nurl = \"http://127.0.0.1:1\"",
        "line 6: perspectives[1].url: is there twice: one place would count as two",
    ),
    (
        "[[perspectives]]\nname = \"eu\"\nurl = \"http://127.0.0.1:1\"\ntimeout = \"30s\"",
        "line 3: perspectives[0].timeout: must be less than preflight.timeout, which is 30s: or nobody is told who kept us waiting",
    ),
    (
        "[traces]\nurl = \"http://user:DoNotLeak@collector.example.com\"",
        "line 4: traces.url: must be https://HOST[:PORT][/PATH], or http:// with a loopback address",
    ),
    ("[traces]\ntoken = { file = \"garbage\" }", "line 4: traces.token: needs url beside it"),
    ("[[update]]\n", "line 3: update: must be a table, not array"),
    ("[tokens]\n", "line 3: tokens: must be a list of at most 100 tables, not table"),
    (
        "[preflight]\nca_files = [1]",
        "line 4: preflight.ca_files: must be a list of at most 16 texts in quotes, and nothing else",
    ),
    (
        "[preflight]\nca_files = [\"absent.pem\"]",
        "line 4: preflight.ca_files[0]: cannot be read: No such file or directory (os error 2)",
    ),
    ("[preflight]\nca_files = [\"garbage\"]", "line 4: preflight.ca_files[0]: the file of roots holds no certificate"),
    (
        "[preflight]\nkms_trusted_roots = \"absent\"",
        "line 4: preflight.kms_trusted_roots: cannot be read: No such file or directory (os error 2)",
    ),
    (
        "[preflight]\nkms_trusted_roots = \"garbage\"",
        "line 4: preflight.kms_trusted_roots: the list of KMS's roots has no line \"SHA256: ...\"; it must be the file TrustedCertificateAuthorities as AWS publishes it, not PEM",
    ),
    (
        "[preflight]\nresolver = [\"192.0.2.53\", \"dns.example.com\"]",
        "line 4: preflight.resolver[1]: must be the address of a name server, IP:PORT or IP (found \"dns.example.com\")",
    ),
    (
        "[preflight]\npromote = [\"tls.beauty\"]",
        "line 4: preflight.promote[0]: must be the id of a check, as listed by: xks-preflight catalogue (found \"tls.beauty\")",
    ),
    (
        "[preflight]\npromote = [\"tls.validity\"]",
        "line 4: preflight.promote[0]: is not a check of level should, and only those can be promoted (found \"tls.validity\")",
    ),
    (
        "[preflight]\npromote = [\"tls.expiry_margin\", \"tls.expiry_margin\"]",
        "line 4: preflight.promote[1]: is there twice",
    ),
    (
        "[preflight]\ncapacity_allow = [\"a.example\", \"A.example\"]",
        "line 4: preflight.capacity_allow[1]: is there twice",
    ),
    (
        "[preflight]\ncapacity_allow = [\"https://a.example\"]",
        "line 4: preflight.capacity_allow[0]: must be a host name without scheme or port (found \"https://a.example\")",
    ),
    (
        "[preflight]\nendpoint_hosts = [\"*.a.example\"]",
        "line 4: preflight.endpoint_hosts[0]: must be a host name such as example.com, without scheme, port or wildcard; it covers all below it (found \"*.a.example\")",
    ),
    (
        "[preflight]\nvpc_networks = [\"169.254.0.0/16\"]",
        "line 4: preflight.vpc_networks[0]: must be within a private range: no network of the internet, this machine or its link (found \"169.254.0.0/16\")",
    ),
    (
        "[[preflight.routes]]\nhost = \"https://x\"\nconnect_to = [\"127.0.0.1:1\"]",
        "line 4: preflight.routes[0].host: must be a host name without scheme or port (found \"https://x\")",
    ),
    (
        "[[preflight.routes]]\nhost = \"a.example\"\nconnect_to = [\"here\"]",
        "line 5: preflight.routes[0].connect_to[0]: must be an IP address and a port, for example 192.0.2.7:443 (found \"here\")",
    ),
    (
        "[[preflight.routes]]\nhost = \"a.example\"\nconnect_to = []",
        "line 3: preflight.routes[0].connect_to: must have at least one address",
    ),
    (
        "[[preflight.waivers]]\ncheck = \"health.redundancy\"\nowner = \"ann\"\nreason = \"x\"\nuntil = \"soon\"",
        "line 7: preflight.waivers[0].until: must be an RFC 3339 time, for example 2027-01-31T00:00:00Z (found \"soon\")",
    ),
    (
        "[[preflight.waivers]]\ncheck = \"health.redundancy\"\nowner = \"ann\"\nreason = \" \"\nuntil = \"2027-01-31T00:00:00Z\"",
        "line 6: preflight.waivers[0].reason: must be 1 to 500 characters in one line (found \" \")",
    ),
    (
        "[[preflight.waivers]]\ncheck = \"input.path_version\"\nowner = \"ann\"\napproved_by = \"Ann\"\nreason = \"x\"\nuntil = \"2027-01-31T00:00:00Z\"",
        "line 4: preflight.waivers[0].approved_by: must be there and name somebody else than owner, because nobody waives this check alone",
    ),
    (
        "[[preflight.waivers]]\ncheck = \"health.redundancy\"\nkey_store = \"cks-2\"\nowner = \"ann\"\nreason = \"x\"\nuntil = \"2027-01-31T00:00:00Z\"",
        "line 5: preflight.waivers[0].key_store: must be the id of one of [[key_stores]] (found \"cks-2\")",
    ),
    (
        "[[key_stores]]\nid = \"payments-keys\"\ncredential = \"a\"\n[credentials.a]\nconsole_file = \"proxy-configuration.json\"",
        "line 4: key_stores[0].id: must be a CustomKeyStoreId: cks- and hexadecimal digits, as KMS gives it (found \"payments-keys\")",
    ),
    (
        "[[key_stores]]\nid = \"cks-1\"\ncredential = \"b\"",
        "line 5: key_stores[0].credential: must name one of [credentials.NAME] (found \"b\")",
    ),
    (
        "[[key_stores]]\ncredential = 7\nid = \"cks-1\"",
        "line 4: key_stores[0].credential: must be text in quotes, not integer",
    ),
    (
        "[credentials.a]",
        "line 3: credentials.a: must have exactly one of console_file, exec, secrets_manager, and access_key_id with secret",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"",
        "line 3: credentials.a: must have exactly one of console_file, exec, secrets_manager, and access_key_id with secret",
    ),
    (
        "[credentials.a]\nexec = [\"vault\", \"kv\"]",
        "line 4: credentials.a.exec: must be a list of a program, by its absolute path, and its arguments",
    ),
    (
        "[credentials.a]\nexec = [\"/bin/echo\", \"DoNotLeak\"]",
        "line 4: credentials.a.exec: what the program prints is no credential: is not JSON: the mistake is at line 1, column 1",
    ),
    (
        "[credentials.a]\nexec = [\"/bin/false\"]\nconsole_file = \"proxy-configuration.json\"",
        "line 3: credentials.a: must have exactly one of console_file, exec, secrets_manager, and access_key_id with secret",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { exec = [\"/bin/sh\", \"-c\", \"echo DoNotLeak >&2; exit 4\"] }",
        "line 5: credentials.a.secret.exec: the program ended with exit code 4; what it wrote to its standard error is not shown here, as it may hold the secret",
    ),
    (
        "[credentials.a.secrets_manager]\nstage = \"AWSCURRENT\"",
        "line 3: credentials.a.secrets_manager.secret_id: is missing: the name or the ARN of the secret",
    ),
    (
        "[credentials.a.secrets_manager]\nsecret_id = \"a\"\nstage = \"AWSPREVIOUS\"",
        "line 5: credentials.a.secrets_manager.stage: must be \"AWSCURRENT\" or \"AWSPENDING\" (found \"AWSPREVIOUS\")",
    ),
    (
        "[credentials.a.secrets_manager]\nsecret_id = \"a\"\nendpoint_url = \"http://192.0.2.1\"",
        "line 5: credentials.a.secrets_manager.endpoint_url: must be https://HOST[:PORT], or http:// with a loopback address: the answer is a secret",
    ),
    (
        "[credentials.\"a b\"]\nconsole_file = \"x\"",
        "line 3: credentials.<a key of 3 characters>: its name must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = \"TestSecretDoNotLeak0123456789012345678901234567\"",
        "line 5: credentials.a.secret: a secret is never written into this file: say where it is, as { file = \"…\" }, { env = \"…\" } or { exec = [\"…\"] }",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret_access_key = \"DoNotLeak\"",
        "line 5: credentials.a.secret_access_key: is not a key; did you mean secret?",
    ),
    (
        "[credentials.a]\naccess_key_id = \"DoNotLeak\"\nsecret = { env = \"XKS_MAIN_SECRET_ACCESS_KEY\" }",
        "line 4: credentials.a.access_key_id: must be 20 to 30 of A-Z and 2-7",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { env = \"DoNotLeak\" }",
        "line 5: credentials.a.secret.env: the environment variable named here is not set, is empty or is not UTF-8",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { env = \"WRONG_SECRET\" }",
        "line 5: credentials.a.secret: must be 43 to 64 of a-z, A-Z, 0-9, slash, plus and equals sign",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { env = \"X\", file = \"y\" }",
        "line 5: credentials.a.secret: must have exactly one of file, env and exec",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { file = \"open\" }",
        "line 5: credentials.a.secret.file: is open to everyone on this machine (mode 0644): chmod 600 it",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { file = \"empty\" }",
        "line 5: credentials.a.secret.file: is empty",
    ),
    (
        "[credentials.a]\naccess_key_id = \"AKIAI2SFODNN7EXAMPLE\"\nsecret = { file = \"secrets\" }",
        "line 5: credentials.a.secret.file: is not a file",
    ),
    ("[credentials.a]\nconsole_file = \"large\"", "line 4: credentials.a.console_file: is larger than 65536 bytes"),
    (
        "[credentials.a]\nconsole_file = \"garbage\"",
        "line 4: credentials.a.console_file: is not JSON: the mistake is at line 1, column 1",
    ),
    (
        "[journal]\nsealing_key = { file = \"garbage\" }",
        "line 4: journal.sealing_key: must be 32 bytes in base64, for example from: openssl rand -base64 32",
    ),
    (
        "[journal]\npostgres_url = \"postgresql://gate:DoNotLeak@localhost/journal\"",
        "line 4: journal.postgres_url: must not have the password in it: give it in postgres_password",
    ),
    (
        "[journal]\npostgres_url = \"postgresql://gate@db.example.com/journal?sslmode=disable\"",
        "line 4: journal.postgres_url: must not switch TLS off for a host that is not on this machine",
    ),
    ("[journal]\npostgres_ca_file = \"garbage\"", "line 4: journal.postgres_ca_file: needs postgres_url beside it"),
    (
        "[journal]\npostgres_password = { file = \"secrets/next\" }",
        "line 4: journal.postgres_password: needs postgres_url beside it",
    ),
    (
        "[journal]\npostgres_url = \"postgresql://gate@localhost/journal\"\npostgres_ca_file = \"garbage\"",
        "line 5: journal.postgres_ca_file: is of no use on this machine without ?sslmode=require in postgres_url",
    ),
    ("[journal]\nlease = \"40s\"", "line 1: kms.timeout: must be at most half of journal.lease, which is 40s"),
    ("[journal]\npath = \"\"", "line 4: journal.path: must be a path (found \"\")"),
    (
        "[listen]\napi = \"localhost\"",
        "line 4: listen.api: must be an IP address and a port, for example 127.0.0.1:8480 (found \"localhost\")",
    ),
    ("[listen]\ntls_key_file = \"garbage\"", "line 4: listen.tls_key_file: needs tls_certificate_file beside it"),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"root\"\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 5: tokens[0].role: must be \"viewer\" or \"prober\" or \"operator\" or \"approver\" or \"admin\", or a list of several (found \"root\")",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = [\"viewer\", \"root\"]\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 5: tokens[0].role: must be \"viewer\" or \"prober\" or \"operator\" or \"approver\" or \"admin\", or a list of several (found \"root\")",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = []\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 5: tokens[0].role: must be \"viewer\" or \"prober\" or \"operator\" or \"approver\" or \"admin\", or a list of several, not array",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = [\"viewer\", \"viewer\"]\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 5: tokens[0].role[1]: is there twice",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nkey_stores = []\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 3: tokens[0].key_stores: must name at least one key store; leave it out for all of them",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nkey_stores = [\"cks-1\", \" prod\"]\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 6: tokens[0].key_stores[1]: must be a CustomKeyStoreId (cks-...) or a key store's name, with * for any characters: 1 to 256 characters without control characters (found \" prod\")",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nexpires = \"90d\"\nsha256 = \"00000000000000000000000000000000000000000000000000000000000000aa\"",
        "line 6: tokens[0].expires: must be an RFC 3339 time, for example 2027-01-31T00:00:00Z (found \"90d\")",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = \"xkspf_DoNotLeak\"",
        "line 6: tokens[0].sha256: must be 64 hexadecimal digits, as printed by: xks-preflight token new",
    ),
    (
        "[[tokens]]\nname = \"a\"\nrole = \"viewer\"",
        "line 3: tokens[0].sha256: is missing: the hash of the token, as printed by: xks-preflight token new",
    ),
    (
        "[[kms_credentials]]\nname = \"a\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nrole = \"operator\"\nsecret = { env = \"XKS_PREFLIGHT_KMS_SECRET\" }",
        "line 5: kms_credentials[0].access_key_id: is one of AWS's own: make one with: xks-preflight token new-kms",
    ),
    (
        "[[kms_credentials]]\nname = \"a\"\naccess_key_id = \"XKSPFTERRAFORMEXAMPL\"\nrole = \"operator\"\nsecret = { env = \"WRONG_SECRET\" }",
        "line 7: kms_credentials[0].secret: must be 40 to 128 of a-z, A-Z, 0-9, slash, plus and equals sign, as printed by: xks-preflight token new-kms",
    ),
    (
        "[[kms_credentials]]\nname = \"a\"\naccess_key_id = \"XKSPFTERRAFORMEXAMPL\"\nrole = \"operator\"\nsecret = \"DoNotLeak\"",
        "line 7: kms_credentials[0].secret: a secret is never written into this file: say where it is, as { file = \"…\" }, { env = \"…\" } or { exec = [\"…\"] }",
    ),
    (
        "[[kms_credentials]]\nname = \"a\"\naccess_key_id = \"XKSPFTERRAFORMEXAMPL\"\nrole = \"operator\"\nsecret = { env = \"XKS_PREFLIGHT_KMS_SECRET\" }\nexpires = \"soon\"",
        "line 8: kms_credentials[0].expires: must be an RFC 3339 time, for example 2027-01-31T00:00:00Z (found \"soon\")",
    ),
    (
        "[listen]\nkms = \"localhost\"",
        "line 4: listen.kms: must be an IP address and a port, for example 127.0.0.1:8481 (found \"localhost\")",
    ),
    (
        "[listen]\nkms = \"0.0.0.0:8481\"\n[[kms_credentials]]\nname = \"a\"\naccess_key_id = \"XKSPFTERRAFORMEXAMPL\"\nrole = \"operator\"\nsecret = { env = \"XKS_PREFLIGHT_KMS_SECRET\" }",
        "line 4: listen.kms: others can reach this address, and without TLS they can read the secrets in requests: set tls_certificate_file and tls_key_file, or a loopback address, or allow_insecure = true if something in front takes care of it",
    ),
    (
        "[[client_certificates]]\nname = \"a\"\nrole = \"viewer\"\ndns = \"a.example\"",
        "line 3: client_certificates[0]: needs listen.client_ca_file: without it nobody is asked for a certificate",
    ),
    (
        "[listen]\nclient_ca_file = \"garbage\"",
        "line 4: listen.client_ca_file: needs tls_certificate_file and tls_key_file beside it",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\ngrants = []",
        "line 3: oidc[0]: must have either jwks_url or jwks_file",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\ngrants = []\njwks_url = \"http://DoNotLeak.example/keys\"",
        "line 7: oidc[0].jwks_url: must be https://HOST[:PORT]/PATH, or http:// with a loopback address: whoever can change the keys on their way can be anybody",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\ngrants = []\njwks_file = \"garbage\"",
        "line 7: oidc[0].jwks_file: must be a JSON Web Key Set (RFC 7517) with a member keys and in it at least one RSA, P-256 or Ed25519 key with a kid",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\njwks_url = \"https://a/keys\"",
        "line 3: oidc[0].grants: is missing: what its groups may do; all others may do nothing",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \" x\"\ngrants = []\njwks_url = \"https://a/keys\"",
        "line 5: oidc[0].audience: must be 1 to 512 characters without control characters and without space around them (found \" x\")",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\ngrants = []\njwks_url = \"https://a/keys\"\n[oidc.sign_in]\nclient_id = \"c\"\nredirect_uri = \"http://gate.example.com/sign-in/callback\"",
        "line 10: oidc[0].sign_in.redirect_uri: must be https://HOST[:PORT]/sign-in/callback, or http:// with a loopback address: the address of this page as browsers reach it, as it is registered at the provider (found \"http://gate.example.com/sign-in/callback\")",
    ),
    (
        "[[oidc]]\nissuer = \"http://a\"\naudience = \"x\"\ngrants = []\njwks_url = \"https://a/keys\"\n[oidc.sign_in]\nclient_id = \"c\"\nredirect_uri = \"https://gate.example.com/sign-in/callback\"",
        "line 8: oidc[0].sign_in: needs an issuer of https, or of http on a loopback address: its document is read below it",
    ),
    (
        "[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\njwks_url = \"https://a/keys\"\n[[oidc.grants]]\ngroup = \"g\"\nrole = \"root\"",
        "line 9: oidc[0].grants[0].role: must be \"viewer\" or \"prober\" or \"operator\" or \"approver\" or \"admin\", or a list of several (found \"root\")",
    ),
    (
        "[http]\nrequests_per_second = 0",
        "line 4: http.requests_per_second: must be a whole number from 1 to 100000 (found 0)",
    ),
    (
        "[[accounts]]\nname = \"home\"\nregions = [\"us-east-1\"]\ncredentials = [\"x\"]",
        "line 6: accounts[0].credentials[0]: must name one of [credentials.NAME] (found \"x\")",
    ),
    (
        "[[accounts]]\nname = \"home\"\nregions = [\"eu-central-1\"]",
        "line 3: accounts[0].regions: must not have kms.region again",
    ),
    (
        "[[accounts]]\nname = \"home\"\nregions = [\"us-east-1\"]\nprofile = \"a\"",
        "line 3: accounts[0].name: must not be home: profile or role_arn lead elsewhere than [kms]",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]",
        "line 3: accounts[0].name: must be home: without profile or role_arn this is the account of [kms]",
    ),
    (
        "[[accounts]]\nname = \"a/b\"\nregions = [\"us-east-1\"]\nprofile = \"a\"",
        "line 4: accounts[0].name: must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore (found \"a/b\")",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = []\nprofile = \"a\"",
        "line 3: accounts[0].regions: must name at least one Region",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\", \"us-east-1\"]\nprofile = \"a\"",
        "line 5: accounts[0].regions[1]: is there twice",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"mars\"]\nprofile = \"a\"",
        "line 5: accounts[0].regions[0]: must look like an AWS Region, for example eu-central-1 (found \"mars\")",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nrole_arn = \"arn:aws:iam::444455556666:user/x\"",
        "line 6: accounts[0].role_arn: must be the ARN of an IAM role, such as arn:aws:iam::444455556666:role/xks-preflight (found \"arn:aws:iam::444455556666:user/x\")",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"a\"\nexternal_id = \"DoNotLeak\"",
        "line 3: accounts[0].external_id: needs role_arn beside it",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nrole_arn = \"arn:aws:iam::444455556666:role/x\"\nexternal_id = \"DoNotLeak or else\"",
        "line 7: accounts[0].external_id: must be 2 to 1224 of A-Z, a-z, 0-9 and _+=,.@:/-",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"a\"\nsession_name = \"a b\"",
        "line 7: accounts[0].session_name: must be 2 to 64 of A-Z, a-z, 0-9 and _+=,.@- (found \"a b\")",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"a\"\n[[accounts.endpoints]]\nregion = \"eu-west-1\"\nkms = \"https://kms.example.com\"",
        "line 8: accounts[0].endpoints[0].region: must be one of the account's regions",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"a\"\n[[accounts.endpoints]]\nregion = \"us-east-1\"\nkms = \"http://DoNotLeak.example\"",
        "line 9: accounts[0].endpoints[0].kms: must be https://HOST[:PORT], or http:// with a loopback address: requests to KMS may hold a secret",
    ),
    (
        "[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"a\"\n[[accounts]]\nname = \"a\"\nregions = [\"us-east-1\"]\nprofile = \"b\"",
        "line 7: accounts[1].name: is there twice (found \"a\")",
    ),
    (
        "[monitor]\ndiscovered = \"probe\"",
        "line 4: monitor.discovered: must be \"watch\" or \"show\" (found \"probe\")",
    ),
];
