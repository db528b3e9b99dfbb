//! Replicas whose history ends early: what stands on older versions comes with them.

use super::*;

const SIDE: &str = "branches/side";

/// A server with five versions of a table, a copy of the last one, and the versions.
fn shallow() -> (World, World, Vec<Hash>) {
    let server = World::new();
    let mut versions = vec![server.put(server.table(20_000, 1), "first")];
    for salt in 2..6 {
        let from = salt as i64 * 100;
        versions.push(server.edit(from..from + 10, salt));
    }
    let client = World::new();
    let (pulled, _) = pull(&client, &server, &PullRequest { depth: Some(1), ..PullRequest::default() }).unwrap();
    assert_eq!((pulled.commits, pulled.shallow.len()), (1, 1));
    (client, server, versions)
}

/// A branch with an edit of this version.
fn branch(world: &World, from: Hash, salt: u64) -> Hash {
    let main = world.at(MAIN).unwrap();
    world.set(MAIN, from);
    let tip = world.edit(3000..3010, salt);
    world.set(MAIN, main);
    world.set(SIDE, tip);
    tip
}

fn merge(world: &World) -> Hash {
    let parents = [world.at(MAIN).unwrap(), world.at(SIDE).unwrap()];
    let merged = world.commit(&parents, &world.root(&parents[0]), "merge");
    world.set(MAIN, merged);
    merged
}

#[test]
fn a_shallow_clone_pulls_what_stands_on_older_versions() {
    let (client, server, versions) = shallow();
    let tip = branch(&server, versions[2], 7);
    let (pulled, _) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, client.at(SIDE)), (4, Some(tip)));
    client.check_shallow();
    // What follows from it comes as ever, and the versions between stay away.
    let merged = merge(&server);
    let (pulled, _) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, client.at(MAIN)), (1, Some(merged)));
    server.edit([1], 8);
    let (pulled, _) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, pulled.deltas), (1, 1));
    assert!(!client.store.contains(&versions[3]).unwrap());
    client.check_shallow();
    // With the last of them nothing is shallow any more.
    server.set("tags/fourth", versions[3]);
    let (pulled, _) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!(pulled.commits, 1);
    client.check_whole();
}

#[test]
fn a_shallow_clone_pulls_a_name_for_an_older_version() {
    let (client, server, versions) = shallow();
    server.set("tags/third", versions[2]);
    pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!(client.at("tags/third"), Some(versions[2]));
    client.check_shallow();
}

#[test]
fn a_merge_of_what_stands_on_older_versions_comes_at_once() {
    let (client, server, versions) = shallow();
    branch(&server, versions[2], 7);
    let merged = merge(&server);
    let request = PullRequest { refs: vec![MAIN.into()], ..PullRequest::default() };
    let (pulled, _) = pull(&client, &server, &request).unwrap();
    assert_eq!((pulled.commits, client.at(MAIN)), (5, Some(merged)));
    client.check_shallow();
}

#[test]
fn a_shallow_replica_is_pushed_what_stands_on_older_versions() {
    let (copy, full, versions) = shallow();
    let tip = branch(&full, versions[2], 7);
    push(&full, &copy, SIDE).unwrap();
    assert_eq!(copy.at(SIDE), Some(tip));
    copy.check_shallow();
    let merged = merge(&full);
    push(&full, &copy, MAIN).unwrap();
    assert_eq!(copy.at(MAIN), Some(merged));
    copy.check_shallow();
}

#[test]
fn a_shallow_clone_of_a_shallow_replica_goes_on_pulling() {
    let (_, server, versions) = shallow();
    let (middle, copy) = (World::new(), World::new());
    for (to, from, depth) in [(&middle, &server, 3), (&copy, &middle, 1)] {
        pull(to, from, &PullRequest { depth: Some(depth), ..PullRequest::default() }).unwrap();
    }
    let tip = branch(&middle, versions[3], 7);
    let (pulled, _) = pull(&copy, &middle, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, pulled.shallow.as_slice(), copy.at(SIDE)), (3, &versions[2..3], Some(tip)));
    copy.check_shallow();
    // What is before that end comes from where it is.
    server.set("tags/first", versions[0]);
    pull(&copy, &server, &PullRequest::default()).unwrap();
    copy.check_shallow();
}
