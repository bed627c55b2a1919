//! Bodies and lists as the API's description tells them to programs. Nothing is read or written through these types:
//! bodies are read member by member ([`super::body`]), so that all faults come at once. A fuzzer compares the two.

#![expect(dead_code, reason = "fields that are described and not read")]

use utoipa::ToSchema;

use super::freeze::FreezeView;
use super::view::{DriftView, KeyStoreView, PlaceView, UpdateView};

/// A change of a key store, in KMS's own member names. Absent and null are the same. What a member means together with
/// others is KMS's matter, and told as `members` or by a pre-flight.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody<O> {
    /// Which one; may come from the query when a console file is posted as it is.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    #[serde(rename = "CustomKeyStoreId")]
    key_store: Option<String>,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    #[serde(rename = "NewCustomKeyStoreName")]
    name: Option<String>,
    #[schema(min_length = 10, max_length = 128, pattern = "^https://[a-zA-Z0-9.-]+$")]
    #[serde(rename = "XksProxyUriEndpoint")]
    endpoint: Option<String>,
    #[schema(min_length = 10, max_length = 128, pattern = "^(/[a-zA-Z0-9/_-]+)?/kms/xks/v[0-9]{1,2}$")]
    #[serde(rename = "XksProxyUriPath")]
    path: Option<String>,
    #[serde(rename = "XksProxyConnectivity")]
    connectivity: Option<ConnectivityWord>,
    #[schema(
        min_length = 20,
        max_length = 64,
        pattern = r"^(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}[0-9]+\.vpce-svc-[0-9a-z]+$"
    )]
    #[serde(rename = "XksProxyVpcEndpointServiceName")]
    service_name: Option<String>,
    #[schema(pattern = "^[0-9]{12}$")]
    #[serde(rename = "XksProxyVpcEndpointServiceOwner")]
    service_owner: Option<String>,
    #[schema(nullable = true)]
    #[serde(rename = "XksProxyAuthenticationCredential")]
    credential: Option<CredentialBody>,
    /// Of `kmsuser`, in a CloudHSM key store.
    #[schema(pattern = "^[A-Za-z0-9]{7,32}$", write_only)]
    #[serde(rename = "KeyStorePassword")]
    password: Option<String>,
    #[schema(pattern = "^cluster-[2-7a-zA-Z]{11,16}$")]
    #[serde(rename = "CloudHsmClusterId")]
    cluster: Option<String>,
    /// As options.dry_run.
    dry_run: Option<bool>,
    options: Option<O>,
}

/// `XksProxyConnectivity`.
#[derive(ToSchema)]
pub(super) enum ConnectivityWord {
    #[serde(rename = "PUBLIC_ENDPOINT")]
    Public,
    #[serde(rename = "VPC_ENDPOINT_SERVICE")]
    Vpc,
}

/// Either a credential of the daemon's configuration by its name there, or the credential itself.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum CredentialBody {
    Configured(ConfiguredCredential),
    Inline(InlineCredential),
}

/// A credential of the daemon's configuration.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfiguredCredential {
    /// Its name.
    #[schema(max_length = 255)]
    #[serde(rename = "Source")]
    source: String,
}

/// A credential of an XKS proxy.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineCredential {
    #[schema(pattern = "^[A-Z2-7]{20,30}$")]
    #[serde(rename = "AccessKeyId")]
    access_key_id: String,
    #[schema(pattern = "^[a-zA-Z0-9/+=]{43,64}$", write_only)]
    #[serde(rename = "RawSecretAccessKey")]
    secret: String,
}

/// How an update is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateOptions {
    /// Stop after the plan and its pre-flight.
    dry_run: Option<bool>,
    /// Agree that keys are unavailable while the key store is disconnected.
    acknowledge_outage: Option<bool>,
    /// Connect the key store if it is found DISCONNECTED.
    connect: Option<bool>,
    /// The credential alone changes, and the former one is proven refused in the end.
    rotate: Option<bool>,
    /// Of a rotation, and not without it: for how long both credentials are watched; 300 or more.
    #[schema(minimum = 0)]
    propagation_seconds: Option<u32>,
    /// Pass by approval, freeze, windows and hours of green, never by a pre-flight.
    break_glass: Option<BreakGlass>,
    /// The credential that is in force now, for restoring it.
    former_credential: Option<InlineCredential>,
    /// The password that is in force now, for restoring it.
    #[schema(pattern = "^[A-Za-z0-9]{7,32}$", write_only)]
    former_password: Option<String>,
}

/// Why the glass is broken.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlass {
    /// In one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[!-~][^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// A person's yes.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalBody {
    /// The `approval_digest` of the update.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    /// True, which a change that disconnects the key store needs.
    acknowledge_outage: Option<bool>,
}

/// A freeze.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeBody {
    /// `CustomKeyStoreId`; absent means every one.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    key_store: Option<String>,
    /// Why, in one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[!-~][^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
    /// When it ends by itself: a time to come.
    #[schema(format = DateTime, pattern = "^2[1-9][0-9]{2}-")]
    until: Option<String>,
}

/// Updates, newest first.
#[derive(ToSchema)]
pub(super) struct Updates {
    updates: Vec<UpdateView>,
}

/// Key stores.
#[derive(ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the members")]
pub(super) struct KeyStores {
    key_stores: Vec<KeyStoreView>,
    /// Every account and Region that is asked.
    places: Vec<PlaceView>,
    /// Why KMS could not be read.
    describe_failure: Option<String>,
    /// The latest changes behind our back, newest first.
    drifts: Vec<DriftView>,
    /// From when on changes can be seen, RFC 3339.
    drifts_since: String,
}

/// Freezes in force.
#[derive(ToSchema)]
pub(super) struct Freezes {
    freezes: Vec<FreezeView>,
}

/// Reports of schema `xks-preflight/report/1`.
#[derive(ToSchema)]
pub(super) struct Reports {
    #[schema(value_type = Vec<Object>)]
    reports: Vec<()>,
}

/// A plan that was only asked for.
#[derive(ToSchema)]
pub(super) struct DryRun {
    #[schema(value_type = Object)]
    plan: (),
    /// Schema `xks-preflight/report/1`.
    #[schema(value_type = Object)]
    report: (),
    /// What would keep an update from its first mutation now: reason, detail, until, and whether it would wait for that
    /// (`waits`) or be refused; null if nothing.
    #[schema(value_type = Option<Object>)]
    barred: (),
}

/// What `POST /v1/updates` gives with 200.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum SubmitAnswer {
    DryRun(DryRun),
    Existing(Box<UpdateView>),
}

/// A candidate for a gate: texts alone, and no secret. Absent and null are the same.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GateBody {
    /// Of the key store that the candidate changes; absent means that it stands for itself.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    #[serde(rename = "CustomKeyStoreId")]
    key_store: Option<String>,
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyUriEndpoint")]
    endpoint: Option<String>,
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyUriPath")]
    path: Option<String>,
    #[serde(rename = "XksProxyConnectivity")]
    connectivity: Option<ConnectivityWord>,
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyVpcEndpointServiceName")]
    service_name: Option<String>,
    #[schema(pattern = "^[0-9]{12}$")]
    #[serde(rename = "XksProxyVpcEndpointServiceOwner")]
    service_owner: Option<String>,
    /// Of a candidate that stands for itself; by default the daemon's.
    #[schema(pattern = "^[a-z]{1,8}-([a-z]{1,8}-)?[a-z]{1,8}-[0-9]{1,2}$")]
    #[serde(rename = "Region")]
    region: Option<String>,
    /// The name of a credential in the daemon's configuration.
    #[schema(max_length = 255)]
    #[serde(rename = "CredentialSource")]
    credential: Option<String>,
}

/// What a webhook sends: a candidate under metadata, and whatever it says of itself; or a candidate as it is.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum StatusBody {
    Webhook(WebhookBody),
    Candidate(GateBody),
}

/// What Flagger sends, among others.
#[derive(ToSchema)]
pub(super) struct WebhookBody {
    metadata: GateBody,
}

/// A candidate: as for an update, or free-standing. Values of a free-standing one may be such as KMS refuses, because a
/// pre-flight says so better.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum PreflightBody {
    /// A change of a key store, or, without any, its present settings.
    Change(ChangeBody<PreflightOptions>),
    Free(FreePreflight),
}

/// Settings that belong to no key store yet.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FreePreflight {
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyUriEndpoint")]
    endpoint: String,
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyUriPath")]
    path: String,
    #[serde(rename = "XksProxyConnectivity")]
    connectivity: Option<ConnectivityWord>,
    #[schema(max_length = 255)]
    #[serde(rename = "XksProxyVpcEndpointServiceName")]
    service_name: Option<String>,
    #[schema(pattern = "^[0-9]{12}$")]
    #[serde(rename = "XksProxyVpcEndpointServiceOwner")]
    service_owner: Option<String>,
    #[schema(pattern = "^[a-z]{1,8}-([a-z]{1,8}-)?[a-z]{1,8}-[0-9]{1,2}$")]
    #[serde(rename = "Region")]
    region: Option<String>,
    #[serde(rename = "XksProxyAuthenticationCredential")]
    credential: FreeCredentialBody,
    options: Option<FreeOptions>,
}

/// Either a credential of the daemon's configuration by its name there, or any other.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum FreeCredentialBody {
    Configured(ConfiguredCredential),
    Offered(OfferedBody),
}

/// A credential as it may not be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferedBody {
    #[schema(max_length = 255)]
    #[serde(rename = "AccessKeyId")]
    access_key_id: String,
    #[schema(max_length = 255, write_only)]
    #[serde(rename = "RawSecretAccessKey")]
    secret: String,
}

/// How a change is to be looked at.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreflightOptions {
    dry_run: Option<bool>,
    acknowledge_outage: Option<bool>,
    connect: Option<bool>,
    rotate: Option<bool>,
    #[schema(minimum = 0)]
    propagation_seconds: Option<u32>,
    break_glass: Option<BreakGlass>,
    former_credential: Option<InlineCredential>,
    #[schema(pattern = "^[A-Za-z0-9]{7,32}$", write_only)]
    former_password: Option<String>,
    /// Send requests that the proxy must refuse.
    refusals: Option<bool>,
    /// False: no other perspective is asked.
    perspectives: Option<bool>,
    /// Put load on a candidate that is ready, if preflight.capacity_allow names its host.
    capacity: Option<CapacityBody>,
}

/// What more is to be tried.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FreeOptions {
    /// Send requests that the proxy must refuse.
    refusals: Option<bool>,
    /// False: no other perspective is asked.
    perspectives: Option<bool>,
    /// Put load on a candidate that is ready, if preflight.capacity_allow names its host.
    capacity: Option<CapacityBody>,
}

/// A load.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CapacityBody {
    /// Requests per second.
    #[schema(minimum = 1)]
    rate: u32,
    #[schema(minimum = 1)]
    seconds: u32,
}
