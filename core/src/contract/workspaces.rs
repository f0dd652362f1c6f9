//! [`crate::ports::WorkspaceStore`].

use super::{World, assert_refused};
use crate::{
    caller::Caller,
    domain::{PageRequest, Role},
    ids::WorkspaceId,
    refusal::{Named, Refusal},
};

/// A person can have several workspaces, each with its own agents.
pub async fn several_workspaces(world: &World) {
    let workspaces = &world.stores.workspaces;
    let id: WorkspaceId = world.env.id();
    let made = workspaces.create(world.owner.user, id, "Work", "Max").await.unwrap();
    assert_eq!((made.id, made.name.as_str()), (id, "Work"));
    let names: Vec<String> = workspaces
        .memberships(world.owner.user)
        .await
        .unwrap()
        .into_iter()
        .map(|found| found.workspace.name)
        .collect();
    assert_eq!(names, ["Home", "Work"]);
    let there = Caller::person(world.owner.user, id, Role::Owner);
    let agents = world.stores.agents.agents(&there).await.unwrap();
    assert!(agents.len() == 2 && agents.iter().all(|agent| agent.name == "Max" && agent.workspace_id == id));
}

/// A client chooses the id: the same request again gives the same workspace, and another person's id is refused.
pub async fn ids_of_workspaces(world: &World) {
    let workspaces = &world.stores.workspaces;
    let id: WorkspaceId = world.env.id();
    let made = workspaces.create(world.owner.user, id, "Work", "Max").await.unwrap();
    assert_eq!(workspaces.create(world.owner.user, id, "Work", "Max").await.unwrap(), made);
    let taken = workspaces.create(world.member.user, id, "Mine", "Moritz").await;
    assert_refused(taken, Refusal::IdTaken { what: Named::Workspace });
    assert_eq!(workspaces.role(world.member.user, id).await.unwrap(), None);
    let there = Caller::person(world.owner.user, id, Role::Owner);
    assert_eq!(
        world.stores.agents.agents(&there).await.unwrap().len(),
        2,
        "it has its agents only"
    );
}

/// Who is a member, with which role.
pub async fn members(world: &World) {
    let workspaces = &world.stores.workspaces;
    assert_eq!(
        workspaces.role(world.member.user, world.workspace.id).await.unwrap(),
        Some(Role::Member)
    );
    assert_eq!(workspaces.role(world.stranger.user, world.workspace.id).await.unwrap(), None);
    assert_eq!(workspaces.role(world.owner.user, world.env.id()).await.unwrap(), None);
    let page = workspaces.members(&world.member, PageRequest::first(10)).await.unwrap();
    let emails: Vec<&str> = page.items.iter().map(|member| member.email.as_str()).collect();
    assert_eq!(emails, ["ana@example.org", "ben@example.org"]);
    let first = workspaces.members(&world.member, PageRequest::first(1)).await.unwrap();
    let rest = workspaces
        .members(
            &world.member,
            PageRequest {
                cursor: first.next_cursor,
                limit: 10,
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (first.items, rest.items),
        (page.items[..1].to_vec(), page.items[1..].to_vec())
    );
    assert!(rest.next_cursor.is_none());
}

/// Owners can change names.
pub async fn names(world: &World) {
    let workspaces = &world.stores.workspaces;
    assert_refused(workspaces.rename(&world.member, "Mine").await, Refusal::OwnersOnly);
    assert_eq!(workspaces.rename(&world.owner, "House").await.unwrap().name, "House");
    assert_eq!(workspaces.workspace(&world.member).await.unwrap().name, "House");
    for bad in ["", "   ", &"x".repeat(201)] {
        assert_refused(
            workspaces.rename(&world.owner, bad).await,
            Refusal::NameLength { what: Named::Workspace },
        );
    }
}
