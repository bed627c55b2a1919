//! What was asked of the simulated KMS, in order. Bounded, and without secrets.

use std::collections::VecDeque;

use serde_json::Value;

use super::store::Secret;

/// The operations that the simulated KMS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the KMS operation of the same name")]
pub enum Operation {
    ConnectCustomKeyStore,
    CreateCustomKeyStore,
    DeleteCustomKeyStore,
    DescribeCustomKeyStores,
    DescribeKey,
    DisconnectCustomKeyStore,
    ListKeys,
    UpdateCustomKeyStore,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 8] = [
        Self::ConnectCustomKeyStore,
        Self::CreateCustomKeyStore,
        Self::DeleteCustomKeyStore,
        Self::DescribeCustomKeyStores,
        Self::DescribeKey,
        Self::DisconnectCustomKeyStore,
        Self::ListKeys,
        Self::UpdateCustomKeyStore,
    ];

    /// The name in `X-Amz-Target`, after `TrentService.`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectCustomKeyStore => "ConnectCustomKeyStore",
            Self::CreateCustomKeyStore => "CreateCustomKeyStore",
            Self::DeleteCustomKeyStore => "DeleteCustomKeyStore",
            Self::DescribeCustomKeyStores => "DescribeCustomKeyStores",
            Self::DescribeKey => "DescribeKey",
            Self::DisconnectCustomKeyStore => "DisconnectCustomKeyStore",
            Self::ListKeys => "ListKeys",
            Self::UpdateCustomKeyStore => "UpdateCustomKeyStore",
        }
    }

    /// Whether the operation changes a store.
    pub fn is_mutation(self) -> bool {
        !matches!(self, Self::DescribeCustomKeyStores | Self::DescribeKey | Self::ListKeys)
    }
}

/// How a call ended, as KMS saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is still being worked on.
    Pending,
    /// It succeeded. The answer may yet have been lost: see [`Call::answered`].
    Succeeded,
    /// It ended in the exception of this name, or `503` for an answer without a body.
    Failed(String),
    /// It was dropped before anything was done, on command or because it could not be read.
    Dropped,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// 1 for the first request, and so on without gaps.
    pub sequence: u64,
    /// The operation; `None` if `X-Amz-Target` names none that is known.
    pub operation: Option<Operation>,
    /// The parameters without secrets; `null` if the body was no JSON object.
    pub parameters: Value,
    /// The fingerprint (see [`Secret::fingerprint`]) of the secret or password that was given.
    pub secret_fingerprint: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it changed a store. A Connect of a connected store succeeds and changes nothing.
    pub applied: bool,
    /// Whether an answer was handed to the connection.
    pub answered: bool,
}

/// How many calls are kept; the oldest go first.
const MAX_CALLS: usize = 2048;

/// The latest calls.
#[derive(Debug, Default)]
pub(super) struct History {
    calls: VecDeque<Call>,
    count: u64,
}

impl History {
    /// Notes a call that begins and gives it its number.
    pub(super) fn begin(&mut self, operation: Option<Operation>, parameters: &Value) -> u64 {
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.count += 1;
        let mut parameters = parameters.clone();
        let secret_fingerprint = take_secrets(&mut parameters);
        self.calls.push_back(Call {
            sequence: self.count,
            operation,
            parameters,
            secret_fingerprint,
            outcome: Outcome::Pending,
            applied: false,
            answered: false,
        });
        self.count
    }

    /// Changes what is noted about the call of this number, if it is still kept.
    pub(super) fn note(&mut self, sequence: u64, note: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.sequence == sequence) {
            note(call);
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }
}

/// Takes every member whose name says secret or password out, at any depth; the fingerprint of the last one found.
fn take_secrets(value: &mut Value) -> Option<String> {
    let mut found = None;
    match value {
        Value::Object(members) => members.retain(|name, member| {
            let lower = name.to_ascii_lowercase();
            if lower.contains("secret") || lower.contains("password") {
                found = Some(Secret::new(member.as_str().unwrap_or_default()).fingerprint());
                return false;
            }
            found = take_secrets(member).or_else(|| found.take());
            true
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| found = take_secrets(item).or_else(|| found.take())),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_leave_only_a_fingerprint() {
        let mut history = History::default();
        let parameters = json!({
            "CustomKeyStoreId": "cks-1",
            "XksProxyAuthenticationCredential": { "AccessKeyId": "AKIA", "RawSecretAccessKey": "OneDoNotLeak" },
            "KeyStorePassword": ["OtherDoNotLeak"],
        });
        history.begin(Some(Operation::UpdateCustomKeyStore), &parameters);
        let calls = history.calls();
        assert!(!format!("{calls:?}").contains("DoNotLeak"), "{calls:?}");
        assert_eq!(calls[0].parameters["XksProxyAuthenticationCredential"], json!({ "AccessKeyId": "AKIA" }));
        assert!(calls[0].secret_fingerprint.is_some());
    }

    #[test]
    fn the_oldest_calls_go_first() {
        let mut history = History::default();
        for _ in 0..=MAX_CALLS {
            history.begin(None, &Value::Null);
        }
        let calls = history.calls();
        assert_eq!((calls.len(), calls[0].sequence), (MAX_CALLS, 2));
    }
}
