//! Verbs on a node.

use std::time::Duration;

use syncline_api::client::{Options, Reply};
use syncline_api::pipe::Limits;
use syncline_base::{Clock, Kind, SystemClock, task};
use syncline_server::Settings;
use syncline_server::remote::Remote;

use crate::support::{Node, Place};

fn call(node: &Node, verb: &str, request: &str) -> syncline_api::Result<String> {
    let mut report = None;
    node.client().call("d", verb, request, None, &mut |reply| {
        if let Reply::Report(json) = reply {
            report = Some(json);
        }
        Ok(())
    })?;
    Ok(report.unwrap())
}

#[test]
fn a_verb_runs_on_the_node_and_reports() {
    let node = Node::new();
    let ada = Place::new();
    let id = ada.edit(0..10, "first");
    ada.push(&mut Remote::new(&node.client())).unwrap();
    let report = call(&node, "log", "{}").unwrap();
    assert!(report.contains(&id.to_string()), "{report}");
}

#[test]
fn a_report_may_be_longer_than_a_message() {
    let node = Node::new();
    let ada = Place::new();
    ada.edit(0..10, "first");
    // Of three bytes each, so that no piece ends by chance between two of them.
    let message = "\u{20ac}".repeat(300_000);
    let table = ada.root().tables["t"];
    for _ in 0..20 {
        ada.commit("t", table, &message);
    }
    ada.push(&mut Remote::new(&node.client())).unwrap();
    let report = call(&node, "log", "{}").unwrap();
    assert!(report.len() > Limits::default().message_bytes, "{} bytes", report.len());
    let log: serde_json::Value = serde_json::from_str(&report).unwrap();
    let messages = log["commits"].as_array().unwrap().iter().map(|commit| commit["message"].as_str().unwrap());
    assert_eq!(messages.filter(|shown| **shown == message).count(), 20);
}

#[test]
fn a_report_that_is_too_long_is_refused_with_what_to_do_by_either_side() {
    let small = Limits { report_bytes: 1_000, ..Limits::default() };
    for (node, options) in [
        (Node::with(Settings { limits: small, ..Settings::default() }), Options::default()),
        (Node::new(), Options { limits: small, ..Options::default() }),
    ] {
        let ada = Place::new();
        let id = ada.edit(0..10, &"long ".repeat(300));
        ada.push(&mut Remote::new(&node.client())).unwrap();
        let client = node.client_with(options);
        let mut on_reply = |reply: Reply| -> syncline_api::Result<()> {
            assert!(!matches!(reply, Reply::Report(_)), "a piece is no report");
            Ok(())
        };
        let error = client.call("d", "log", "{}", None, &mut on_reply).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("log was carried out") && error.to_string().contains("--limit"), "{error}");
        // A short one comes.
        let mut root = None;
        let mut on_reply = |reply: Reply| -> syncline_api::Result<()> {
            root = Some(reply);
            Ok(())
        };
        client.call("d", "root", "{}", None, &mut on_reply).unwrap();
        assert!(matches!(&root, Some(Reply::Report(json)) if json.len() < 1_000), "{root:?} of {id}");
    }
}

#[test]
fn a_long_verb_says_how_far_it_has_come() {
    let node = Node::new();
    let csv: String =
        std::iter::once("id,text\n".to_owned()).chain((0..50_000).map(|i| format!("{i},row {i}\n"))).collect();
    let request = r#"{"table":"t","key":["id"],"mode":"upsert","message":"rows","format":"csv"}"#;
    let mut told = Vec::new();
    for (verb, request, input) in
        [("import", request, Some(csv.as_bytes())), ("verify", "{}", None), ("gc", "{}", None)]
    {
        let (mut input, mut steps, mut reported) = (input, Vec::new(), false);
        let input = input.as_mut().map(|input| input as &mut dyn std::io::Read);
        node.client()
            .call("d", verb, request, input, &mut |reply| {
                match reply {
                    Reply::Progress(json) if !reported => {
                        steps.push(serde_json::from_str::<syncline_node::progress::Step>(&json).unwrap());
                    }
                    Reply::Progress(_) => panic!("progress after the report"),
                    Reply::Report(_) => reported = true,
                    Reply::Output(_) => {}
                }
                Ok(())
            })
            .unwrap();
        assert!(!steps.is_empty() && steps.is_sorted_by_key(|step| step.number), "{verb}: {steps:?}");
        told.push(steps[0].what.clone());
    }
    assert!(told.iter().all(|what| !what.is_empty()), "{told:?}");
}

#[test]
fn a_verb_may_work_in_silence_for_longer_than_a_stall() {
    let limits = Limits {
        stall: Duration::from_millis(1_000),
        heartbeat: Duration::from_millis(100),
        busy: Duration::from_millis(200),
        ..Limits::default()
    };
    let node = Node::with(Settings { limits, ..Settings::default() });
    let client = node.client_with(Options { limits, ..Options::default() });
    // Somebody else writes to the dataset: until they are done the verb waits, and has nothing to say.
    let lock = node.dir.path().join("d/store/lock");
    std::fs::create_dir_all(&lock).unwrap();
    let held = std::fs::File::create(lock.join("writer")).unwrap();
    held.lock().unwrap();
    let writer = task::spawn("writer", move || {
        SystemClock.sleep(Duration::from_millis(3_500));
        drop(held);
    });
    let started = SystemClock.monotonic();
    let request = r#"{"table":"t","key":["id"],"mode":"upsert","message":"rows","format":"csv"}"#;
    let mut reported = false;
    client
        .call("d", "import", request, Some(&mut "id,text\n1,one\n".as_bytes()), &mut |reply| {
            reported |= matches!(reply, Reply::Report(_));
            Ok(())
        })
        .unwrap();
    assert!(reported);
    assert!(SystemClock.monotonic() - started > Duration::from_millis(3_000), "the verb did not wait");
    writer.unwrap().join().unwrap();
}

#[test]
fn a_verb_whose_caller_has_gone_publishes_nothing() {
    let node = Node::new();
    let csv: String =
        std::iter::once("id,text\n".to_owned()).chain((0..150_000).map(|i| format!("{i},row {i}\n"))).collect();
    let request = r#"{"table":"t","key":["id"],"mode":"upsert","message":"rows","format":"csv"}"#;
    let gone = node.client().call("d", "import", request, Some(&mut csv.as_bytes()), &mut |_| {
        Err(syncline_api::Error::Settings("enough".into()))
    });
    assert!(gone.unwrap_err().to_string().contains("enough"));
    // As long as the whole import takes, and then some.
    let started = SystemClock.monotonic();
    let other = request.replace("\"t\"", "\"u\"");
    node.client().call("d", "import", &other, Some(&mut csv.as_bytes()), &mut |_| Ok(())).unwrap();
    SystemClock.sleep(SystemClock.monotonic() - started);
    let report = call(&node, "log", "{}").unwrap();
    assert_eq!(report.matches("\"message\":\"rows\"").count(), 1, "{report}");
}

#[test]
fn faults_of_verbs_keep_their_kind_and_words() {
    let node = Node::new();
    let error = call(&node, "dance", "{}").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("dance"), "{error}");
    let error = call(&node, "log", "no json").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn rows_go_in_and_come_out_by_stream() {
    let node = Node::new();
    let client = node.client();
    let csv: String =
        std::iter::once("id,text\n".to_owned()).chain((0..5_000).map(|i| format!("{i},row {i}\n"))).collect();
    let request = r#"{"table":"t","key":["id"],"mode":"upsert","message":"rows","format":"csv"}"#;
    let mut report = String::new();
    client
        .call("d", "import", request, Some(&mut csv.as_bytes()), &mut |reply| {
            if let Reply::Report(json) = reply {
                report = json;
            }
            Ok(())
        })
        .unwrap();
    assert!(report.contains("5000"), "{report}");
    let mut out = Vec::new();
    client
        .call("d", "export", r#"{"table":"t","format":"csv"}"#, None, &mut |reply| {
            if let Reply::Output(bytes) = reply {
                out.extend_from_slice(&bytes);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), csv);
}
