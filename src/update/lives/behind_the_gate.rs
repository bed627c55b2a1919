//! Lives behind the gate: with freezes that come, go and end, hours kept free for outages, and people who agree, agree
//! wrongly, or break the glass.

use super::watched::WatchedCandidate;
use super::*;

fn a_gated_change(mut random: StdRng, tally: &mut Tally) {
    let (change, former) = any_change(&mut random);
    let approval = [ApprovalRule::None, ApprovalRule::One, ApprovalRule::Two][random.random_range(0..3)];
    let state = if random.random_ratio(3, 4) { ConnectionState::Connected } else { ConnectionState::Disconnected };
    let break_glass = random.random_ratio(1, 8).then(|| "the proxy burns".to_owned());
    let options = Options { connect: random.random(), acknowledge_outage: true, break_glass, ..Options::default() };
    let hurried = random.random_ratio(1, 4);
    let plan_valid_for = Duration::from_secs(if hurried { random.random_range(5..120) } else { 3_600 });
    let policy = Policy { approval, plan_valid_for, ..Policy::default() };
    let plan = plan(&store(state), wanted(change, former, options), &policy, beginning()).unwrap();
    let house = House::any(&mut random);
    let watched = random.random_ratio(1, 2).then(|| WatchedCandidate::any(&mut random, &plan));
    let is_watched = watched.is_some() && plan.changes_proxy();
    let house = watched.into_iter().fold(house, House::watching);
    let others = random.random_ratio(1, 4);
    let lived = live(&plan, World::new(&plan, random, others), house);
    if plan.break_glass.is_some() && lived.ending == Ending::Verified {
        tally.count("verified by broken glass");
    }
    if is_watched && plan.break_glass.is_none() && lived.ending == Ending::Verified {
        tally.count("verified after a watch");
    }
    for denied in &lived.denied {
        tally.count(denied);
    }
    tally.count(lived.word());
}

#[test]
fn nothing_is_sent_past_a_shut_gate() {
    lives("gated changes", 1_500, a_gated_change).has(&[
        "verified",
        "verified by broken glass",
        "verified after a watch",
        "rolled_back",
        "blocked",
        "abandoned",
        "refused: drift",
        "refused: expired",
        "refused: frozen",
        "refused: outside_window",
        "refused: not_green",
        "permit denied: expired",
        "permit denied: frozen",
        "permit denied: outside_window",
        "permit denied: not_green",
        "permit denied: stale_preflight",
        "approval denied: author_may_not_approve",
        "approval denied: already_approved",
        "approval denied: other_plan",
        "approval denied: outage_not_acknowledged",
        "approval denied: frozen",
        "approval denied: not_awaiting_approval",
        "approval denied: expired",
    ]);
}
