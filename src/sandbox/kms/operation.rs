//! What each operation does. Every decision about the stores is made under the lock; the proxy is asked without it, and
//! the decision is made anew afterwards, so two calls at once cannot commit what neither could alone.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Kms,
    change::{Prepared, prepare_connect, prepare_create, prepare_delete, prepare_disconnect, prepare_update},
    constraint::Constraints,
    fault::KmsFault,
    health::ProxyFailure,
    history::Operation,
    store::{Backing, ConnectionState, Connectivity, Secret, Store},
    wire::{Failure, Query, StoreParameters, parse},
};

/// How a connect ends.
struct ConnectionEnd {
    state: ConnectionState,
    /// The password that KMS has given `kmsuser` on this occasion.
    rotated: Option<Secret>,
}

impl ConnectionEnd {
    fn of(state: ConnectionState) -> Self {
        Self { state, rotated: None }
    }
}

type Answer = Result<Value, Failure>;

impl Kms {
    /// Carries the operation out. `sequence` is the call's number in the history, where a change is noted in the same
    /// moment as it is made.
    pub(super) async fn perform(
        &self,
        operation: Operation,
        parameters: Value,
        fault: Option<&KmsFault>,
        sequence: u64,
    ) -> Answer {
        match operation {
            Operation::UpdateCustomKeyStore => return self.update(parameters, sequence).await,
            Operation::CreateCustomKeyStore => return self.create(parameters, sequence).await,
            _ => {}
        }
        let query: Query = parse(parameters)?;
        let mut constraints = query.constrain();
        match operation {
            Operation::DescribeCustomKeyStores | Operation::ListKeys => {}
            Operation::DescribeKey => constraints.required("keyId", query.key_id.is_some()),
            _ => constraints.required("customKeyStoreId", query.custom_key_store_id.is_some()),
        }
        constraints.finish()?;
        let id = query.custom_key_store_id.as_deref().unwrap_or_default();
        match operation {
            Operation::DescribeCustomKeyStores => {
                let shown = match fault {
                    Some(KmsFault::ShowsState(word)) => Some(word.as_str()),
                    _ => None,
                };
                self.lock().region.describe_stores(&query, shown)
            }
            Operation::ListKeys => self.lock().region.list_keys(&query),
            Operation::DescribeKey => self.lock().region.describe_key(&query),
            Operation::ConnectCustomKeyStore => self.connect(id, fault, sequence),
            Operation::DisconnectCustomKeyStore => self.disconnect(id, fault, sequence),
            _ => self.delete(id, sequence),
        }
    }

    /// Asks the proxy, where these settings need it.
    async fn ask(&self, prepared: &Prepared, operation: Operation) -> Result<(), Failure> {
        match &prepared.backing {
            Backing::External(xks) if prepared.ask_proxy => {
                self.health.call(xks, operation.as_str()).await.map_err(ProxyFailure::exception)
            }
            _ => Ok(()),
        }
    }

    async fn update(&self, parameters: Value, sequence: u64) -> Answer {
        let parameters: StoreParameters = parse(parameters)?;
        let mut constraints = Constraints::default();
        constraints.required("customKeyStoreId", parameters.custom_key_store_id.is_some());
        parameters.constrain(&mut constraints);
        constraints.finish()?;
        let id = parameters.custom_key_store_id.clone().unwrap_or_default();
        let prepared = {
            let state = self.lock();
            prepare_update(&state.region, state.region.store(&id)?, &parameters)?
        };
        self.ask(&prepared, Operation::UpdateCustomKeyStore).await?;
        let mut state = self.lock();
        let prepared = prepare_update(&state.region, state.region.store(&id)?, &parameters)?;
        state.region.record(&id)?.change(|store| {
            store.name = prepared.name;
            store.backing = prepared.backing;
        });
        state.history.note(sequence, |call| call.applied = true);
        Ok(json!({}))
    }

    async fn create(&self, parameters: Value, sequence: u64) -> Answer {
        let parameters: StoreParameters = parse(parameters)?;
        let mut constraints = Constraints::default();
        parameters.constrain(&mut constraints);
        constraints.finish()?;
        let prepared = prepare_create(&self.lock().region, &parameters)?;
        self.ask(&prepared, Operation::CreateCustomKeyStore).await?;
        let now = (self.clock)();
        let mut state = self.lock();
        let prepared = prepare_create(&state.region, &parameters)?;
        let id = state.region.add(prepared.name, prepared.backing, now);
        state.history.note(sequence, |call| call.applied = true);
        Ok(json!({ "CustomKeyStoreId": id }))
    }

    fn connect(&self, id: &str, fault: Option<&KmsFault>, sequence: u64) -> Answer {
        let mut state = self.lock();
        let store = state.region.store(id)?.clone();
        if !prepare_connect(&store)? {
            return Ok(json!({}));
        }
        if let Backing::CloudHsm(hsm) = &store.backing {
            state.region.check_connect(&hsm.cluster_id)?;
        }
        let attempt = state.region.next_attempt();
        let never = fault == Some(&KmsFault::NeverCompletes);
        let due = (!never).then(|| Instant::now() + state.connect_delay);
        let record = state.region.record(id)?;
        record.begin_connect(attempt, due);
        state.history.note(sequence, |call| call.applied = true);
        if let Some(KmsFault::ConnectFails(code)) = fault {
            state.region.record(id)?.connected(attempt, ConnectionState::Failed(code.clone()));
        } else if !never {
            self.connect_in_background(store, attempt);
        }
        Ok(json!({}))
    }

    /// Finds out how a connect ends, while the caller has long had its empty answer.
    fn connect_in_background(&self, store: Store, attempt: u64) {
        let Some(kms) = self.own.upgrade() else { return };
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let end = tokio::select! {
                end = kms.connection_end(&store) => end,
                () = stop.cancelled() => return,
            };
            if let Some(record) = kms.lock().region.find(&store.id) {
                if let Some(rotated) = end.rotated {
                    record.change(|store| {
                        if let Backing::CloudHsm(hsm) = &mut store.backing {
                            hsm.password = rotated;
                        }
                    });
                }
                record.connected(attempt, end.state);
            }
        });
    }

    /// How a connect of this store ends.
    async fn connection_end(&self, store: &Store) -> ConnectionEnd {
        let failed = |code: &str| ConnectionEnd::of(ConnectionState::Failed(code.to_owned()));
        match &store.backing {
            Backing::CloudHsm(hsm) => {
                let clusters = self.lock().region.clusters.clone();
                match clusters.map(|clusters| clusters.log_in(&hsm.cluster_id, &hsm.password)) {
                    None => ConnectionEnd::of(ConnectionState::Connected),
                    Some(Ok(rotated)) => ConnectionEnd { state: ConnectionState::Connected, rotated: Some(rotated) },
                    Some(Err(code)) => failed(code),
                }
            }
            Backing::External(xks) => {
                if matches!(xks.connectivity, Connectivity::VpcEndpointService { .. })
                    && let Err(failure) = self.lock().region.check_service(xks)
                {
                    return failed(match failure.name.as_ref() {
                        "XksProxyVpcEndpointServiceNotFoundException" => "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
                        _ => "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
                    });
                }
                match self.health.call(xks, Operation::ConnectCustomKeyStore.as_str()).await {
                    Ok(()) => ConnectionEnd::of(ConnectionState::Connected),
                    Err(failure) => failed(failure.connection_error_code()),
                }
            }
        }
    }

    fn disconnect(&self, id: &str, fault: Option<&KmsFault>, sequence: u64) -> Answer {
        let mut state = self.lock();
        prepare_disconnect(state.region.store(id)?)?;
        let attempt = state.region.next_attempt();
        let never = fault == Some(&KmsFault::NeverCompletes);
        let due = (!never).then(|| Instant::now() + state.disconnect_delay);
        state.region.record(id)?.begin_disconnect(attempt, due);
        state.history.note(sequence, |call| call.applied = true);
        Ok(json!({}))
    }

    fn delete(&self, id: &str, sequence: u64) -> Answer {
        let mut state = self.lock();
        prepare_delete(state.region.store(id)?)?;
        state.region.delete(id)?;
        state.history.note(sequence, |call| call.applied = true);
        Ok(json!({}))
    }
}
