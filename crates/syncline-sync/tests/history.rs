//! Histories of commits: clone, pull, push, divergence, depth.

use syncline_base::{Hash, Kind};
use syncline_sync::{Error, PullRequest};
use syncline_tree::{Commit, DatasetRoot};

use crate::world::{World, pull, push, push_as, request};

const MAIN: &str = "branches/main";

fn clone_of(server: &World) -> World {
    let client = World::new();
    pull(&client, server, &PullRequest::default()).unwrap();
    client
}

/// A replica with `n` commits on main, and a clone of it: clone, origin, the last commit.
fn pair(n: usize) -> (World, World, Hash) {
    let server = World::new();
    let base = server.chain(None, n, "main");
    server.set(MAIN, base);
    (clone_of(&server), server, base)
}

#[test]
fn a_clone_has_every_ref_and_commit() {
    let server = World::new();
    let tip = server.chain(None, 30, "main");
    let side = server.chain(Some(tip), 3, "side");
    server.set(MAIN, tip);
    server.set("branches/side", side);
    server.set("tags/v1", tip);
    let client = World::new();
    let (pulled, passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, pulled.head.as_deref()), (33, Some(MAIN)));
    assert_eq!((client.at(MAIN), client.at("branches/side")), (Some(tip), Some(side)));
    // One to say what is wanted, one to confirm that it has arrived.
    assert_eq!(passed.round_trips, 1);
    client.check_whole();
}

#[test]
fn a_pull_sends_only_what_is_new() {
    let server = World::new();
    server.set(MAIN, server.chain(None, 200, "main"));
    let client = clone_of(&server);
    server.set(MAIN, server.chain(server.at(MAIN), 2, "more"));
    let (pulled, passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!(pulled.commits, 2);
    assert!(passed.bytes < 600, "{passed:?}");
    assert_eq!(passed.round_trips, 1);
    // Nothing new: nothing is sent.
    let (pulled, passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!(pulled.commits, 0);
    assert!(passed.bytes < 250, "{passed:?}");
}

#[test]
fn a_push_takes_two_round_trips() {
    let server = World::new();
    server.set(MAIN, server.chain(None, 50, "main"));
    let client = clone_of(&server);
    client.set(MAIN, client.chain(client.at(MAIN), 1, "edit"));
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.commits, 1);
    assert_eq!(server.at(MAIN), client.at(MAIN));
    assert_eq!(passed.round_trips, 2);
    assert!(passed.bytes < 500, "{passed:?}");
    server.check_whole();
}

#[test]
fn a_push_to_an_empty_replica_sends_everything() {
    let (client, server) = (World::new(), World::new());
    client.set(MAIN, client.chain(None, 5, "main"));
    let (pushed, _) = push(&client, &server, MAIN).unwrap();
    assert_eq!((pushed.commits, server.at(MAIN)), (5, client.at(MAIN)));
    server.check_whole();
}

#[test]
fn a_diverged_pull_finds_the_common_base() {
    let (client, server, base) = pair(100);
    client.set(MAIN, client.chain(Some(base), 5, "ours"));
    let theirs = server.chain(Some(base), 7, "theirs");
    server.set(MAIN, theirs);
    // A pull that keeps our branch where it is: the pump's `pull` would overwrite it.
    let ours = client.at(MAIN).unwrap();
    let (pulled, passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!(pulled.commits, 7);
    client.set(MAIN, ours);
    assert!(passed.round_trips <= 2, "{passed:?}");
    assert!(Commit::load(&client.store, &theirs).is_ok());
}

#[test]
fn a_push_onto_a_moved_ref_names_both_commits_and_loses_nothing() {
    let (client, server, base) = pair(3);
    let ours = client.chain(Some(base), 1, "ours");
    client.set(MAIN, ours);
    let theirs = server.chain(Some(base), 1, "theirs");
    server.set(MAIN, theirs);
    let error = push(&client, &server, MAIN).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let Error::Moved { ref name, expected, theirs: at } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), expected, at), (MAIN, Some(ours), Some(theirs)));
    let text = error.to_string();
    assert!(text.contains(&ours.short()) && text.contains(&theirs.short()), "{text}");
    assert_eq!(server.at(MAIN), Some(theirs));

    // The same with force goes through.
    let mut forced = request(MAIN, ours);
    forced.moves[0].force = true;
    push_as(&client, &server, &forced).unwrap();
    assert_eq!(server.at(MAIN), Some(ours));
}

#[test]
fn a_ref_that_moves_while_objects_are_sent_is_a_conflict() {
    use crate::world::pump;
    use syncline_sync::session::{Sender, Server};
    let (client, server, base) = pair(3);
    let ours = client.chain(Some(base), 1, "ours");
    client.set(MAIN, ours);
    let mut sending = Sender::push(&client, request(MAIN, ours)).unwrap();
    let mut serving = Server::new(&server);
    // Hello and welcome have passed: both sides think that main is at `base`.
    let (_, outcome) = pump(&mut sending, &mut serving, Some(2));
    assert!(!outcome.unwrap());
    let theirs = server.chain(Some(base), 1, "theirs");
    server.set(MAIN, theirs);
    let (_, outcome) = pump(&mut sending, &mut serving, None);
    assert!(
        matches!(outcome, Err(Error::Moved { expected: Some(e), theirs: Some(t), .. }) if e == base && t == theirs)
    );
    // What was sent is kept: the next attempt after a merge sends less.
    assert!(server.store.contains(&ours).unwrap());
    assert_eq!(server.at(MAIN), Some(theirs));
}

#[test]
fn a_lost_expectation_is_refused_before_anything_is_sent() {
    let server = World::new();
    server.set(MAIN, server.chain(None, 3, "main"));
    let client = clone_of(&server);
    let ours = client.chain(client.at(MAIN), 1, "ours");
    let mut stale = request(MAIN, ours);
    stale.moves[0].expected = Some(Hash::of(b"long ago"));
    let error = push_as(&client, &server, &stale).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

#[test]
fn a_shallow_clone_has_the_newest_commits_and_can_push() {
    let server = World::new();
    server.set(MAIN, server.chain(None, 50, "main"));
    let client = World::new();
    let request = PullRequest { depth: Some(3), ..PullRequest::default() };
    let (pulled, _) = pull(&client, &server, &request).unwrap();
    assert_eq!((pulled.commits, pulled.shallow.len()), (3, 1));
    client.set(MAIN, client.chain(client.at(MAIN), 1, "ours"));
    push(&client, &server, MAIN).unwrap();
    assert_eq!(server.at(MAIN), client.at(MAIN));
    server.check_whole();
}

#[test]
fn merges_travel_with_both_parents() {
    let (client, server, base) = pair(3);
    let a = client.chain(Some(base), 4, "a");
    let b = client.chain(Some(base), 6, "b");
    client.set(MAIN, client.commit(&[a, b], &DatasetRoot::default(), "merge"));
    let (pushed, _) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.commits, 11);
    server.check_whole();
}

#[test]
fn a_ref_can_be_removed_and_an_unknown_one_is_named() {
    let server = World::new();
    server.set("branches/old", server.chain(None, 1, "old"));
    let client = World::new();
    let mut request = request("branches/old", Hash::ZERO);
    request.moves[0].target = None;
    push_as(&client, &server, &request).unwrap();
    assert_eq!(server.at("branches/old"), None);

    let request = PullRequest { refs: vec!["branches/none".into()], ..PullRequest::default() };
    let error = pull(&client, &server, &request).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("branches/none"), "{error}");
}
