//! What a node refuses: open doors, wrong tokens, foreign versions, floods.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use syncline_api::Target;
use syncline_api::client::{Client, Options};
use syncline_base::Kind;
use syncline_server::remote::Remote;
use syncline_server::{Settings, Tls, start};

use crate::support::{Node, Place};

pub(crate) const TOKEN: &str = "a token that is long enough";

pub(crate) fn certificate() -> (Tls, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let pem = cert.pem().into_bytes();
    (Tls { certificate: pem.clone(), key: signing_key.serialize_pem().into_bytes() }, pem)
}

fn refused(settings: Settings) -> String {
    let node = Node::new();
    let settings = Settings { listen: ([0, 0, 0, 0], 0).into(), ..settings };
    let error = start(&settings, node.hub).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    error.to_string()
}

#[test]
fn off_loopback_a_certificate_and_a_token_are_needed() {
    let (tls, _) = certificate();
    let token = Some(TOKEN.to_owned());
    assert!(refused(Settings::default()).contains("--tls-cert, --tls-key, --token"));
    assert!(refused(Settings { token: token.clone(), ..Settings::default() }).contains("--tls-key"));
    assert!(refused(Settings { tls: Some(tls.clone()), ..Settings::default() }).contains("--token"));
    let short = Settings { tls: Some(tls), token: Some("short".into()), ..Settings::default() };
    assert!(refused(short).contains("too short"));
}

#[test]
fn with_both_the_whole_way_is_safe_and_works() {
    let (tls, authority) = certificate();
    let node = Node::with(Settings { tls: Some(tls), token: Some(TOKEN.into()), ..Settings::default() });
    let target = || Target::parse(&format!("https://localhost:{}/d", node.running.address().port())).unwrap();
    let options = |token: Option<&str>| Options {
        token: token.map(Into::into),
        authority: Some(authority.clone()),
        ..Options::default()
    };
    let ada = Place::new();
    ada.edit(0..100, "first");
    let client = std::sync::Arc::new(Client::connect(target(), options(Some(TOKEN))).unwrap());
    ada.push(&mut Remote::new(&client)).unwrap();
    assert_eq!(client.datasets().unwrap(), ["d"]);

    for (token, part) in [(None, "--token"), (Some("not the token at all"), "not the one")] {
        let client = Client::connect(target(), options(token)).unwrap();
        let error = client.datasets().unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains(part), "{error}");
        let error = ada.push(&mut Remote::new(&std::sync::Arc::new(client))).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    }

    // Another authority, none at all, and no TLS.
    let (_, other) = certificate();
    let wrong = Options { authority: Some(other), ..options(Some(TOKEN)) };
    assert_eq!(Client::connect(target(), wrong).unwrap_err().kind(), Kind::Denied, "trying again does not help");
    let none = Options { authority: None, ..options(Some(TOKEN)) };
    assert!(Client::connect(target(), none).unwrap_err().to_string().contains("--ca"));
    let key = Options { authority: Some(b"-----BEGIN PRIVATE KEY-----".to_vec()), ..options(Some(TOKEN)) };
    assert!(Client::connect(target(), key).unwrap_err().to_string().contains("no certificate"));
    let name = Options { server_name: Some("elsewhere.example".into()), ..options(Some(TOKEN)) };
    assert_eq!(Client::connect(target(), name).unwrap_err().kind(), Kind::Denied);
    // The other scheme than the node's.
    let clear = Target::parse(&format!("http://localhost:{}/d", node.running.address().port())).unwrap();
    let error = Client::connect(clear, options(Some(TOKEN))).and_then(|client| client.datasets()).unwrap_err();
    assert!(error.to_string().contains("https://localhost"), "{error}");
    let plain = Node::new();
    let safe = Target::parse(&format!("https://localhost:{}/d", plain.running.address().port())).unwrap();
    let error = Client::connect(safe, options(None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("http://localhost"), "{error}");
}

#[test]
fn a_token_is_not_sent_in_the_clear() {
    let target = Target::parse("http://192.0.2.1:7070/d").unwrap();
    let options = Options { token: Some(TOKEN.into()), ..Options::default() };
    let error = Client::connect(target, options).unwrap_err();
    assert!(error.to_string().contains("use https"), "{error}");
}

#[test]
fn names_cannot_leave_the_data_directory() {
    let node = Node::new();
    let client = node.client();
    for name in ["..", ".", "", "a/b", "/etc", ".hidden", "a\\b", &"x".repeat(200)] {
        let error = client.create_dataset(name).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{name}");
    }
    client.create_dataset("e").unwrap();
    assert_eq!(client.create_dataset("e").unwrap_err().kind(), Kind::Conflict);
    assert_eq!(client.datasets().unwrap(), ["d", "e"]);
    assert_eq!(client.ping().unwrap().newest, syncline_api::NEWEST_VERSION);
}

#[test]
fn more_sessions_than_allowed_are_told_to_wait() {
    let node = Node::with(Settings { sessions: 1, ..Settings::default() });
    let client = node.client();
    // A session that is open and says nothing more.
    let mut first = client.transfer("d");
    let hello = syncline_node::sync::wire::Message::Hello {
        version: 1,
        want: syncline_node::sync::wire::Want::Push { moves: Vec::new() },
    };
    first.send(syncline_node::sync::wire::encode_frame(&[hello])).unwrap();
    assert!(first.receive().unwrap().is_some());
    let mut second = client.transfer("d");
    // The refusal may be here before the first word is out.
    let error = second.send(bytes::Bytes::from_static(b"x")).and_then(|()| second.receive().map(drop)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("already"), "{error}");
}

#[test]
fn foreign_versions_and_nonsense_are_answered_with_what_to_do() {
    use syncline_node::sync::wire::{self, Message};
    let node = Node::new();
    let client = node.client();
    // Bytes that are no message.
    let mut nonsense = client.transfer("d");
    nonsense.send(bytes::Bytes::from_static(&[200, 5, 1, 2, 3, 4, 5])).unwrap();
    let answer = nonsense.receive().unwrap().unwrap();
    let [Message::Fault(fault)] = &wire::decode_frame(answer).unwrap()[..] else { panic!("no fault") };
    assert_eq!(fault.kind, Kind::Invalid);
    // A message of a later protocol.
    let mut later = client.transfer("d");
    later.send(bytes::Bytes::from_static(&[1, 3, 9, 9, 9])).unwrap();
    let answer = later.receive().unwrap().unwrap();
    let [Message::Fault(fault)] = &wire::decode_frame(answer).unwrap()[..] else { panic!("no fault") };
    assert!(fault.message.contains("same version"), "{}", fault.message);
    // The node is as well as before.
    assert_eq!(client.datasets().unwrap(), ["d"]);
}
