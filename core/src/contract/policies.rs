//! [`crate::ports::PolicyStore`].

use super::{World, assert_refused};
use crate::{
    domain::{Decider, PageRequest, Role},
    policy::{Policy, Rule, Say, ToolCategory},
    refusal::Refusal,
};

/// A workspace begins with the starter policy; an owner replaces it, one version after the other, and every member reads it.
pub async fn versions_of_a_policy(world: &World) {
    let policies = &world.stores.policies;
    let first = policies.policy(&world.owner).await.unwrap();
    assert_eq!((first.version, &first.rules), (1, &Policy::starter()));
    let rules = vec![
        Rule::of(ToolCategory::MemoryRead, Say::Allow),
        Rule {
            tool: Some("remember".into()),
            role: Some(Role::Member),
            agent: Some(world.companion(&world.owner).await.id),
            decider: Some(Decider::Owner),
            why: Some("Ana wants to see what is kept – “all of it”.".into()),
            ..Rule::of(ToolCategory::MemoryWrite, Say::Ask)
        },
    ];
    let second = policies.write_policy(&world.owner, 1, rules.clone()).await.unwrap();
    assert_eq!((second.version, &second.rules, second.author), (2, &rules, world.owner.user));
    assert_eq!(policies.policy(&world.member).await.unwrap(), second);
    let late = policies.write_policy(&world.owner, 1, Vec::new()).await;
    assert_refused(late, Refusal::PolicyChanged);
    let third = policies.write_policy(&world.owner, 2, Vec::new()).await.unwrap();
    assert_eq!(third.rules, []);
    let page = policies.policy_versions(&world.member, PageRequest::first(2)).await.unwrap();
    assert_eq!(page.items, [third, second]);
    let next = PageRequest {
        cursor: page.next_cursor,
        limit: 2,
    };
    assert_eq!(policies.policy_versions(&world.member, next).await.unwrap().items, [first]);
    let audit = world
        .stores
        .audit
        .entries(&world.owner, PageRequest::first(10))
        .await
        .unwrap();
    let written = audit.items.iter().filter(|entry| entry.action == "policy.write");
    assert_eq!(written.count(), 2);
}

/// Only an owner in person changes a policy; agents do not see it, and others see their own alone.
pub async fn who_sets_a_policy(world: &World) {
    let policies = &world.stores.policies;
    let agent = world.agent_of(&world.owner).await;
    for (caller, refusal) in [(&world.member, Refusal::OwnersOnly), (&agent, Refusal::PeopleOnly)] {
        assert_refused(policies.write_policy(caller, 1, Vec::new()).await, refusal.clone());
    }
    assert_refused(policies.policy(&agent).await, Refusal::PeopleOnly);
    policies.write_policy(&world.stranger, 1, Vec::new()).await.unwrap();
    assert_eq!(policies.policy(&world.owner).await.unwrap().version, 1);
}

/// Rules that nobody could mean are refused by their place.
pub async fn forms_of_rules(world: &World) {
    let policies = &world.stores.policies;
    let fine = Rule::of(ToolCategory::MemoryRead, Say::Allow);
    let wrong = [
        Rule {
            decider: Some(Decider::Owner),
            ..fine.clone()
        },
        Rule {
            tool: Some(String::new()),
            ..fine.clone()
        },
        Rule {
            why: Some("x".repeat(Rule::MAX_TEXT + 1)),
            ..fine.clone()
        },
    ];
    for rule in wrong {
        let refused = policies.write_policy(&world.owner, 1, vec![fine.clone(), rule]).await;
        assert_refused(refused, Refusal::PolicyForm { rule: 2 });
    }
    let many = vec![fine; Rule::MOST + 1];
    let refused = policies.write_policy(&world.owner, 1, many).await;
    let (most, has) = (Rule::MOST, Rule::MOST + 1);
    assert_refused(refused, Refusal::PolicyLength { most, has });
}
