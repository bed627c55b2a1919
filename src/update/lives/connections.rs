//! Lives of connects and disconnects: no setting is touched, and they end as asked, as found, or stuck.

use super::*;

fn planned_connection(state: ConnectionState, to: ConnectionChange) -> Result<Plan, PlanRefused> {
    let wanted = wanted(Change::default(), Some(former_credential()), Options::default());
    plan_connection(&store(state), wanted, to, &Policy::default(), beginning())
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
    let options = Options { in_place: true, ..Options::default() };
    let planned = |state, change| {
        let wanted = wanted(change, None, options.clone());
        plan(&store(state), wanted, &Policy::default(), beginning()).map(|plan| plan.steps.clone())
    };
    let because = "XksProxyUriEndpoint".to_owned();
    assert_eq!(planned(ConnectionState::Connected, endpoint_change()), Err(PlanRefused::NotDisconnected { because }));
    assert_eq!(planned(ConnectionState::Disconnected, endpoint_change()), Ok(vec![Step::Update]));
}

fn a_connection(mut random: StdRng, tally: &mut Tally) {
    let (state, to) = match random.random_range(0..4) {
        0 => (ConnectionState::Disconnected, ConnectionChange::Connect),
        1 => (ConnectionState::Connected, ConnectionChange::Disconnect),
        2 => (ConnectionState::Connected, ConnectionChange::DisconnectAnyway),
        _ => (FAILED, ConnectionChange::Disconnect),
    };
    let plan = planned_connection(state, to).unwrap();
    let (others, gated) = (random.random(), random.random());
    let house = if gated { House::any(&mut random) } else { House::empty() };
    let lived = live(&plan, World::new(&plan, random, others), house);
    let mut updates =
        lived.events.iter().filter(|event| matches!(event, Event::StepIntended { step: Step::Update, .. }));
    assert!(updates.next().is_none(), "a setting was sent");
    assert!(!matches!(lived.ending, Ending::Unproven { .. }), "no rotation was asked for");
    tally.count(lived.word());
}

#[test]
fn they_end_as_asked_or_as_found_or_stuck() {
    let endings = ["verified", "rolled_back", "blocked", "stuck", "refused: frozen", "refused: outside_window"];
    lives("connects and disconnects", 1_000, a_connection).has(&endings);
}
