//! Tags that are pushed and pulled: made once, never moved, and never for what is not there.

use syncline_base::{Hash, Kind};
use syncline_sync::session::{Receiver, Sender, Server, Session};
use syncline_sync::wire::{self, Message, Move, Want, Welcome};
use syncline_sync::{PullRequest, PushRequest};

use crate::world::{World, new_tag, pull, pump_with, push_as, request};

const MAIN: &str = "branches/main";

/// A server with five versions, and a client with all of them.
fn pair() -> (World, World, Vec<Hash>) {
    let server = World::new();
    let mut versions = Vec::new();
    for _ in 0..5 {
        versions.push(server.chain(versions.last().copied(), 1, "main"));
    }
    server.set(MAIN, versions[4]);
    let client = World::new();
    pull(&client, &server, &PullRequest::default()).unwrap();
    (client, server, versions)
}

fn tags(tags: &[(&str, Hash)]) -> PushRequest {
    PushRequest { moves: tags.iter().map(|(name, id)| new_tag(name, *id)).collect() }
}

#[test]
fn tags_are_made_with_what_they_need() {
    let (client, server, versions) = pair();
    let other = client.chain(Some(versions[1]), 2, "other");
    let tip = client.chain(Some(versions[4]), 1, "more");
    client.set("tags/other", other);
    client.set(MAIN, tip);
    let mut moves = request(MAIN, tip).moves;
    moves.extend(tags(&[("other", other), ("old", versions[0]), ("new", tip)]).moves);
    let (pushed, _) = push_as(&client, &server, &PushRequest { moves }).unwrap();
    assert_eq!((pushed.commits, pushed.refs.len(), pushed.left.len()), (3, 4, 0));
    let at = |name| server.at(name).unwrap();
    assert_eq!([at(MAIN), at("tags/other"), at("tags/old"), at("tags/new")], [tip, other, versions[0], tip]);
    server.check_whole();
    // Again: nothing is made, and nothing is in the way.
    let (pushed, _) = push_as(&client, &server, &tags(&[("other", other), ("old", versions[0])])).unwrap();
    assert_eq!((pushed.commits, pushed.refs.len(), pushed.left.len()), (0, 0, 0));
}

#[test]
fn a_tag_that_is_elsewhere_stays_and_the_rest_goes_on() {
    let (client, server, versions) = pair();
    server.set("tags/a", versions[0]);
    let tip = client.chain(Some(versions[4]), 1, "more");
    let mut moves = request(MAIN, tip).moves;
    moves.extend(tags(&[("a", versions[1]), ("b", versions[2]), ("c", versions[3])]).moves);
    // Somebody else makes one of them while it is on its way.
    let (mut ours, request) = (Sender::push(&client, PushRequest { moves: moves.clone() }).unwrap(), moves);
    let mut theirs = Server::new(&server);
    let mut change = |message: &mut Message| {
        if *message == Message::Finish {
            server.set("tags/b", versions[4]);
        }
    };
    let (_, outcome) = pump_with(&mut ours, &mut theirs, None, &mut change);
    assert!(outcome.unwrap());
    let mut left = ours.pushed().unwrap().left;
    left.sort();
    assert_eq!(left, [("tags/a".to_owned(), Some(versions[0])), ("tags/b".to_owned(), Some(versions[4]))]);
    let made: Vec<_> = ours.pushed().unwrap().refs.into_iter().map(|step| step.name).collect();
    assert_eq!(made, [MAIN, "tags/c"]);
    assert_eq!(request.len(), 4);
    assert_eq!([server.at("tags/a"), server.at("tags/c")], [Some(versions[0]), Some(versions[3])]);
    assert_eq!(server.at(MAIN), Some(tip));
}

#[test]
fn a_replica_without_all_of_the_history_pushes_the_tags_of_what_is_there() {
    let (_, server, versions) = pair();
    let client = World::new();
    pull(&client, &server, &PullRequest { depth: Some(1), ..PullRequest::default() }).unwrap();
    let (pushed, _) = push_as(&client, &server, &tags(&[("tip", versions[4])])).unwrap();
    assert_eq!((pushed.refs.len(), pushed.left.len()), (1, 0));
    // What the other side could not join to its history is not sent.
    let foreign = World::new();
    foreign.set(MAIN, foreign.chain(None, 2, "foreign"));
    let (pushed, _) = push_as(&client, &foreign, &tags(&[("tip", versions[4])])).unwrap();
    assert_eq!((pushed.commits, pushed.refs.len()), (0, 0));
    assert_eq!(pushed.left, [("tags/tip".to_owned(), None)]);
    assert_eq!(foreign.at("tags/tip"), None);
}

#[test]
fn tags_that_are_followed_bring_nothing() {
    let (_, server, versions) = pair();
    server.set("tags/old", versions[1]);
    server.set("tags/tip", versions[4]);
    let client = World::new();
    let request = PullRequest { depth: Some(2), follow: true, ..PullRequest::default() };
    let (pulled, _) = pull(&client, &server, &request).unwrap();
    assert_eq!((pulled.commits, client.at("tags/tip"), client.at("tags/old")), (2, Some(versions[4]), None));
    // One that leads to what is here already comes, too.
    server.set("tags/before", versions[3]);
    let (pulled, _) = pull(&client, &server, &PullRequest { follow: true, ..PullRequest::default() }).unwrap();
    assert_eq!((pulled.commits, client.at("tags/before"), client.at("tags/old")), (0, Some(versions[3]), None));
    client.check_shallow();
}

#[test]
fn a_branch_that_was_not_sent_is_missed_also_when_tags_are_followed() {
    let client = World::new();
    let mut session = Receiver::pull(&client, &PullRequest { follow: true, ..PullRequest::default() }).unwrap();
    let refs = vec![("tags/a".to_owned(), Hash::of(b"a")), (MAIN.to_owned(), Hash::of(b"b"))];
    session.receive(Message::Welcome(Welcome { refs, ..Welcome::default() })).unwrap();
    let error = session.receive(Message::Finish).unwrap_err();
    assert!(error.to_string().contains(MAIN), "{error}");
}

#[test]
fn what_is_no_tag_is_refused_before_anything_is_sent() {
    let (_, server, versions) = pair();
    let target = Some(versions[0]);
    let asked = |name: &str, expected, target| Move { name: name.into(), expected, target, flags: wire::NEW };
    let many = (0..=wire::MAX_NAMES).map(|n| asked(&format!("tags/t{n}"), None, target)).collect();
    for moves in [
        vec![asked("branches/new", None, target)],
        vec![asked("tags/../up", None, target)],
        vec![asked("tags/a\u{1b}[2J", None, target)],
        vec![asked("tags/a", target, target)],
        vec![asked("tags/a", None, None)],
        many,
    ] {
        let mut session = Server::new(&server);
        let hello = Message::Hello { version: wire::VERSION, want: Want::Push { moves } };
        assert_eq!(session.receive(hello).unwrap_err().kind(), Kind::Invalid);
    }
    // One that was never sent is told, and not made.
    let mut session = Server::new(&server);
    let moves = vec![asked("tags/a", None, Some(Hash::of(b"nothing"))), asked("tags/b", None, target)];
    session.receive(Message::Hello { version: wire::VERSION, want: Want::Push { moves } }).unwrap();
    assert!(matches!(session.next().unwrap(), Some(Message::Welcome(_))));
    session.receive(Message::Finish).unwrap();
    assert_eq!(session.next().unwrap(), Some(Message::Done { left: vec![("tags/a".into(), None)] }));
    assert_eq!([server.at("tags/a"), server.at("tags/b")], [None, target]);
}

#[test]
fn a_server_that_tells_of_tags_that_nobody_asked_for_is_refused() {
    let (client, _, versions) = pair();
    for push in [tags(&[("a", versions[0])]), request(MAIN, versions[4])] {
        let mut session = Sender::push(&client, push).unwrap();
        assert!(matches!(session.next().unwrap(), Some(Message::Hello { .. })));
        let welcome = Welcome { heads: vec![versions[4]], ..Welcome::default() };
        session.receive(Message::Welcome(welcome)).unwrap();
        assert_eq!(session.next().unwrap(), Some(Message::Finish));
        let done = Message::Done { left: vec![("tags/b".into(), None)] };
        assert_eq!(session.receive(done).unwrap_err().kind(), Kind::Invalid);
    }
}
