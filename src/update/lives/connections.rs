//! Lives of connects and disconnects: no setting is touched, and they end as asked, as found, or stuck.

use super::*;

fn planned_connection(state: ConnectionState, to: ConnectionChange) -> Result<Plan, PlanRefused> {
    let now = Timestamp::from_unix(1_000_000);
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now),
        change: Change::default(),
        options: Options::default(),
        former_credential: Some(credential(FORMER_ID, "f")),
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "tester".into(),
    };
    plan_connection(&store(state), wanted, to, &Policy::default(), now)
}

const FAILED: ConnectionState = ConnectionState::Failed(ConnectionErrorCode::XksProxyTimedOut);

#[test]
fn which_states_kms_takes_them_in() {
    use ConnectionChange::{Connect, Disconnect, DisconnectAnyway};
    use ConnectionState::{Connected, Connecting, Disconnected, Disconnecting, Unrecognized};
    let steps = |state, to| planned_connection(state, to).map(|plan| plan.steps.clone());
    assert_eq!(steps(Disconnected, Connect), Ok(vec![Step::Connect]));
    for there in [Connected, Connecting] {
        assert_eq!(steps(there, Connect), Err(PlanRefused::NothingToChange));
    }
    for to in [Disconnect, DisconnectAnyway] {
        for state in [Connected, Connecting, FAILED] {
            assert_eq!(steps(state, to), Ok(vec![Step::Disconnect]));
        }
    }
    for (state, to) in [
        (FAILED, Connect),
        (Disconnecting, Connect),
        (Unrecognized("NEW".into()), Connect),
        (Unrecognized("NEW".into()), DisconnectAnyway),
        (Disconnected, Disconnect),
        (Disconnecting, DisconnectAnyway),
    ] {
        assert!(matches!(steps(state.clone(), to), Err(PlanRefused::State { .. })), "{to:?} while {state}");
    }
}

#[test]
fn only_a_disconnect_that_says_so_goes_on_without_a_passed_preflight() {
    for (state, to, goes_on) in [
        (ConnectionState::Disconnected, ConnectionChange::Connect, false),
        (ConnectionState::Connected, ConnectionChange::Disconnect, false),
        (ConnectionState::Connected, ConnectionChange::DisconnectAnyway, true),
        // Nothing is taken out of use.
        (FAILED, ConnectionChange::Disconnect, true),
    ] {
        let plan = planned_connection(state, to).unwrap();
        for verdict in [Verdict::Blocked, Verdict::Inconclusive] {
            let passed = PreflightPassed::of(&plan, &summary(&plan, verdict, plan.created_at));
            assert_eq!(passed.is_ok(), goes_on, "{to:?} and {verdict:?}");
        }
        let mut other = summary(&plan, Verdict::Ready, plan.created_at);
        other.settings = SettingsDigest::stated("others");
        assert!(PreflightPassed::of(&plan, &other).is_err(), "{to:?} and other settings");
    }
}

#[test]
fn a_change_in_place_is_refused_where_it_disconnects() {
    let now = Timestamp::from_unix(1_000_000);
    let wanted = |change| Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now),
        change,
        options: Options { in_place: true, ..Options::default() },
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "tester".into(),
    };
    let planned =
        |state, change| plan(&store(state), wanted(change), &Policy::default(), now).map(|plan| plan.steps.clone());
    let because = "XksProxyUriEndpoint".to_owned();
    assert_eq!(planned(ConnectionState::Connected, endpoint_change()), Err(PlanRefused::NotDisconnected { because }));
    assert_eq!(planned(ConnectionState::Disconnected, endpoint_change()), Ok(vec![Step::Update]));
}

fn requests() -> impl Strategy<Value = (ConnectionState, ConnectionChange)> {
    prop_oneof![
        Just((ConnectionState::Disconnected, ConnectionChange::Connect)),
        Just((ConnectionState::Connected, ConnectionChange::Disconnect)),
        Just((ConnectionState::Connected, ConnectionChange::DisconnectAnyway)),
        Just((FAILED, ConnectionChange::Disconnect)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1000)))]

    #[test]
    fn they_end_as_asked_or_as_found_or_stuck((state, to) in requests(), others in any::<bool>(), seed in any::<u64>()) {
        let plan = planned_connection(state.clone(), to).unwrap();
        let world = World::new(&plan, seed, others);
        let (ending, events, world) = live(&plan, world);
        let mut updates = events.iter().filter(|event| matches!(event, Event::StepIntended { step: Step::Update, .. }));
        prop_assert!(updates.next().is_none(), "a setting was sent");
        match ending {
            Ending::Stuck { .. } => {}
            Ending::Unproven { .. } => prop_assert!(false, "no rotation was asked for"),
            Ending::Verified => {
                let asked = if to == ConnectionChange::Connect { ConnectionState::Connected } else { ConnectionState::Disconnected };
                prop_assert_eq!(&world.store.state, &asked);
            }
            // A FAILED key store cannot be made FAILED again.
            Ending::RolledBack { .. } if state == FAILED => {}
            Ending::RolledBack { .. } => prop_assert_eq!(&world.store.state, &state),
            Ending::Blocked { .. } | Ending::Refused { .. } | Ending::Abandoned { .. } => {
                prop_assert!(others || world.store.state == state);
            }
        }
    }
}
