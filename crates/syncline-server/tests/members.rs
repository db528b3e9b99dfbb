//! What a hub does with what others tell it of hubs, over its port.

use std::time::Duration;

use bytes::Bytes;
use syncline_api::client::{self, Options};
use syncline_api::gossip::Teller;
use syncline_api::v1::{ClientMessage, GossipRequest};
use syncline_api::{Error, Kind, Target};
use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock};
use syncline_node::live::engine::MemberState;
use syncline_server::live::{Follow, Role, Upstream};
use syncline_server::{Membership, Settings};

use crate::support::Node;

const PATIENCE: Duration = Duration::from_secs(10);

fn hub() -> Node {
    let members = Membership { advertise: None, options: Options::default(), rehome: true };
    let node = Node::with(Settings { members: Some(members), ..Settings::default() });
    node.hub.live("d").unwrap();
    node
}

/// The announcement of a hub that listens at this port, to the one at `to`.
fn announcement(port: u16, to: &Target) -> Bytes {
    let id = |url: &str| {
        let len = u16::try_from(url.len()).unwrap().to_be_bytes();
        [&len[..], url.as_bytes(), &7_u64.to_be_bytes()].concat()
    };
    let (from, to) = (id(&format!("http://127.0.0.1:{port}/d")), id(&to.to_string()));
    [&[1, 7][..], &from, &[0, 0], &to].concat().into()
}

struct Talk {
    runtime: tokio::runtime::Runtime,
    teller: Teller,
    target: Target,
}

impl Talk {
    fn with(node: &Node) -> Self {
        Self::by(node, &Options::default())
    }

    fn with_token(node: &Node, token: &str) -> Self {
        Self::by(node, &Options { token: Some(token.to_owned()), ..Options::default() })
    }

    fn by(node: &Node, options: &Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let target = node.target();
        let teller = {
            let _inside = runtime.enter();
            Teller::new(&target, options).unwrap()
        };
        Self { runtime, teller, target }
    }

    fn tell(&self, mesh: &[u8], join: bool, body: Bytes) -> Result<Bytes, Error> {
        let mesh = Bytes::copy_from_slice(mesh);
        let request = GossipRequest { dataset: "d".into(), mesh, join, body, ..GossipRequest::default() };
        self.runtime.block_on(self.teller.gossip(request, PATIENCE)).map(|reply| {
            assert_eq!(reply.url, self.target.to_string());
            reply.mesh
        })
    }

    /// Connects as a replica that was told of the node as one of this mesh.
    fn replicate(&self, mesh: &[u8]) -> Result<(), Error> {
        let first = ClientMessage { mesh: Bytes::copy_from_slice(mesh), ..ClientMessage::default() };
        let messages = tokio_stream::once(first);
        self.runtime.block_on(client::replicate(&self.target, &Options::default(), messages)).map(|_| ())
    }
}

#[test]
fn only_who_was_given_an_address_comes_into_a_mesh() {
    let node = hub();
    let talk = Talk::with(&node);
    let hello = || announcement(1, &talk.target);
    // Of no mesh, or of another one, and nobody gave it the address.
    assert_eq!(talk.tell(b"", false, hello()).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(talk.tell(&[9; 8], false, hello()).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(talk.replicate(&[9; 8]).unwrap_err().kind(), Kind::Conflict);
    let mesh = talk.tell(b"", true, hello()).unwrap();
    assert_eq!(mesh.len(), 8);
    talk.replicate(&mesh).unwrap();
    talk.replicate(b"").unwrap();
    assert_eq!(talk.replicate(&[9; 8]).unwrap_err().kind(), Kind::Conflict);
    // It is known now.
    assert_eq!(talk.tell(&mesh, false, hello()).unwrap(), mesh);
    assert_eq!(talk.tell(&[255; 8], false, announcement(2, &talk.target)).unwrap_err().kind(), Kind::Conflict);
    // Two meshes of which one was given the other one become one: the lower.
    assert_eq!(talk.tell(&[0; 8], true, announcement(3, &talk.target)).unwrap(), [0; 8][..]);
    let members = node.hub.live("d").unwrap().members();
    let urls: Vec<&str> = members.iter().map(|member| member.url.as_str()).collect();
    assert!(urls.contains(&"http://127.0.0.1:1/d") && !urls.contains(&"http://127.0.0.1:2/d"), "{urls:?}");
}

#[test]
fn a_hub_goes_on_whatever_it_is_told() {
    let node = hub();
    let talk = Talk::with(&node);
    let mesh = talk.tell(b"", true, announcement(1, &talk.target)).unwrap();
    let mut rng = Rng::from_seed(3);
    for round in 0..300_u64 {
        let mut body = announcement(1, &talk.target).to_vec();
        for _ in 0..=rng.below(4) {
            let at = usize::try_from(rng.below(body.len() as u64)).unwrap();
            body[at] = u8::try_from(rng.below(256)).unwrap();
        }
        if round % 3 == 0 {
            body = vec![0; usize::try_from(rng.below(40_000)).unwrap()];
            rng.fill(&mut body);
        }
        if let Err(error) = talk.tell(&mesh, round % 2 == 0, body.into()) {
            assert!(matches!(error.kind(), Kind::Invalid | Kind::Conflict), "{error}");
        }
    }
    assert_eq!(talk.tell(&[1; 7], true, announcement(1, &talk.target)).unwrap_err().kind(), Kind::Invalid);
    // Off this machine, and it has nothing to lose but what is in the clear.
    assert_eq!(talk.tell(&mesh, false, announcement(1, &talk.target)).unwrap(), mesh);
    assert!(node.hub.live("d").unwrap().members().len() <= 64);
}

#[test]
fn a_peer_that_was_given_may_tell_before_it_has_answered() {
    let node = hub();
    // Nobody listens there: what this node tells it is never answered.
    let port = 9;
    let target = Target::parse(&format!("http://127.0.0.1:{port}/d")).unwrap();
    let peer = Upstream { target, options: Options::default(), scope: Follow::default() };
    node.running.follow(&node.hub, None, &peer, Role::Peer).unwrap();
    let talk = Talk::with(&node);
    let stranger = talk.tell(b"one mesh", false, announcement(port + 1, &talk.target)).unwrap_err();
    assert_eq!(stranger.kind(), Kind::Conflict, "{stranger}");
    assert_eq!(talk.tell(b"one mesh", false, announcement(port, &talk.target)).unwrap(), b"one mesh"[..]);
}

/// A hub that asks for one token, and gives its peers another one.
fn hub_with(own: &str, peers: &str) -> (Node, Options) {
    let options = Options { token: Some(peers.to_owned()), ..Options::default() };
    let members = Membership { advertise: None, options: options.clone(), rehome: true };
    let node = Node::with(Settings { token: Some(own.to_owned()), members: Some(members), ..Settings::default() });
    node.hub.live("d").unwrap();
    (node, options)
}

fn states(node: &Node) -> Vec<(String, MemberState)> {
    let members = node.hub.live("d").unwrap().members().into_iter();
    members.map(|member| (member.url, member.state)).collect()
}

/// Waits until hubs see each other.
fn know_each_other(nodes: &[&Node]) -> bool {
    let begun = SystemClock.monotonic();
    while SystemClock.monotonic() - begun < Duration::from_secs(15) {
        let all = |node: &&Node| {
            let states = states(node);
            states.len() == nodes.len() && states.iter().all(|(_, state)| *state == MemberState::Alive)
        };
        if nodes.iter().all(all) {
            return true;
        }
        SystemClock.sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn hubs_with_one_token_learn_of_each_other_and_no_token_goes_to_who_has_another() {
    const ONE: &str = "one token of the mesh";
    const OTHER: &str = "the token of somebody";
    let (first, _) = hub_with(ONE, ONE);
    let (second, options) = hub_with(ONE, ONE);
    let (third, _) = hub_with(ONE, ONE);
    let peer = |options: Options| Upstream { target: first.target(), options, scope: Follow::default() };
    second.running.follow(&second.hub, None, &peer(options.clone()), Role::Peer).unwrap();
    third.running.follow(&third.hub, None, &peer(options), Role::Peer).unwrap();
    assert!(know_each_other(&[&first, &second, &third]), "{:?}", states(&second));
    // Its peers have a token that it does not ask for: it connects to them, and none of them is told where it is.
    let (odd, options) = hub_with(OTHER, ONE);
    odd.running.follow(&odd.hub, None, &peer(options), Role::Peer).unwrap();
    let begun = SystemClock.monotonic();
    while states(&odd).len() < 3 && SystemClock.monotonic() - begun < Duration::from_secs(15) {
        SystemClock.sleep(Duration::from_millis(50));
    }
    assert_eq!(states(&odd), states(&first), "it is told by its peer");
    assert!(states(&first).iter().all(|(url, _)| *url != odd.target().to_string()));
    let talk = Talk::with_token(&odd, OTHER);
    let refused = talk.tell(b"", true, announcement(1, &talk.target)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
}

#[test]
fn a_node_that_wants_to_know_of_nobody_says_so() {
    let node = Node::new();
    node.hub.live("d").unwrap();
    let talk = Talk::with(&node);
    let refused = talk.tell(b"", true, announcement(1, &talk.target)).unwrap_err();
    assert!(refused.to_string().contains("--no-discover"), "{refused}");
    assert_eq!(talk.replicate(&[9; 8]).unwrap_err().kind(), Kind::Conflict);
    talk.replicate(b"").unwrap();
}
