//! Datasets in a bucket: by URL, and behind a node. With `SYNCLINE_TEST_S3` only (`cargo xtask test` sets it).

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use syncline_base::rng::Rng;

use crate::support::{Dir, Replica, Run, Server, binary, csv};

/// A prefix of its own in the test server's bucket.
struct Bucket {
    endpoint: String,
    url: String,
}

impl Bucket {
    fn new() -> Option<Self> {
        let endpoint = std::env::var("SYNCLINE_TEST_S3").ok()?;
        let bucket = std::env::var("SYNCLINE_TEST_S3_BUCKET").expect("it comes with the endpoint");
        Some(Self { endpoint, url: format!("s3://{bucket}/cli-{}", Rng::from_os().unique_name()) })
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("AWS_ENDPOINT", &self.endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    fn run(&self, words: &[&str]) -> Run {
        let mut command = binary();
        self.tell(&mut command).args(words);
        Run::of(command)
    }

    fn json(&self, words: &[&str]) -> Value {
        self.run(&[words, &["--json"]].concat()).ok().json()
    }

    fn at_replica(&self, replica: &Replica, words: &[&str]) -> Value {
        let mut command = replica.command(words);
        self.tell(&mut command).arg("--json");
        Run::of(command).ok().json()
    }
}

#[test]
fn a_bucket_is_a_replica_like_any_other() {
    let Some(bucket) = Bucket::new() else { return };
    let (dir, url) = (Dir::new(), bucket.at("prices"));
    // What nobody has made is not there, and looking does not make it.
    for _ in 0..2 {
        let run = bucket.run(&["log", "-C", &url]).ends(3);
        assert!(run.stderr.contains("syncline init"), "{}", run.stderr);
    }
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 3_000, 1));
    dir.write("one/notes.md", &"a long note. ".repeat(5_000));
    one.json(["commit", "-m", "files"]);
    assert_eq!(bucket.at_replica(&one, &["push", &url])["in_sync"], true);
    assert_eq!(bucket.json(&["root", "-C", &url])["root"], one.root());
    assert_eq!(bucket.json(&["root", "--on", &url])["root"], one.root());

    let lazy = dir.text("lazy");
    bucket.json(&["clone", &url, &dir.text("two")]);
    bucket.json(&["clone", &url, &lazy, "--lazy"]);
    let two = Replica(dir.path("two"));
    assert_eq!(two.root(), one.root());
    assert!(!dir.path("lazy/notes.md").exists());
    bucket.json(&["fetch", "-C", &lazy, "*.md"]);
    assert_eq!(dir.read("lazy/notes.md"), dir.read("one/notes.md"));

    two.import(&dir, "id,price\n77,1.5\n");
    bucket.at_replica(&two, &["sync"]);
    // Verbs work in the bucket itself, too.
    let file = dir.write("more.csv", &csv(3_000, 3_100, 1));
    bucket.json(&["import", "-C", &url, &file, "--table", "t", "-m", "in the bucket"]);
    bucket.at_replica(&one, &["pull"]);
    assert_eq!(bucket.json(&["root", "-C", &url])["root"], one.root());
    assert_eq!(bucket.json(&["verify", "--deep", "-C", &url])["sound"], true);
    assert_eq!(one.table().lines().count(), 3_101);
    bucket.run(&["init", &url]).ends(4);
}

#[test]
fn a_node_serves_what_lies_in_a_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 2_000, 1));
    let serve = || Server::run(bucket.tell(&mut binary()), Path::new(&bucket.url), &[]);
    let server = serve();
    one.json(["push", &format!("{}/d", server.url)]);
    drop(server);
    // Nothing is kept by the node itself.
    let server = serve();
    let url = format!("{}/d", server.url);
    bucket.json(&["clone", &url, &dir.text("two")]);
    let two = Replica(dir.path("two"));
    assert_eq!(two.root(), one.root());
    let file = dir.write("more.csv", &csv(2_000, 2_050, 1));
    bucket.json(&["import", "--on", &url, &file, "--table", "t", "-m", "on the node"]);
    assert_eq!(two.json(["pull"])["merged"], json!("fast-forward"));
    assert_eq!(bucket.json(&["root", "-C", &bucket.at("d")])["root"], two.root());
    let run = bucket.run(&["root", "--on", &format!("{}/other", server.url)]).ends(3);
    assert!(run.stderr.contains("it has d"), "{}", run.stderr);
    // Two nodes on one bucket are two ways to the same datasets.
    let other = serve();
    assert_eq!(bucket.json(&["root", "--on", &format!("{}/d", other.url)])["root"], two.root());
}

#[test]
fn of_many_writers_to_one_bucket_each_wins_or_is_told() {
    let Some(bucket) = Bucket::new() else { return };
    let (dir, url) = (Dir::new(), bucket.at("many"));
    bucket.run(&["init", &url]).ok();
    let file = dir.write("first.csv", &csv(0, 500, 1));
    bucket.json(&["import", "-C", &url, &file, "--table", "t", "--key", "id", "-m", "first"]);
    let mut writers = Vec::new();
    for writer in 0..6_u64 {
        let from = 1_000 * (writer + 1);
        let file = dir.write(&format!("w{writer}.csv"), &csv(from, from + 50, 1));
        let mut command = binary();
        bucket.tell(&mut command).args(["import", "-C", &url, &file, "--table", "t", "-m", "rows"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        writers.push((from, child));
    }
    let mut won = Vec::new();
    for (from, child) in writers {
        let done = child.wait_with_output().expect("it ends");
        match done.status.code() {
            Some(0) => won.push(from),
            Some(4) => assert!(String::from_utf8_lossy(&done.stderr).contains("run it again")),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&done.stderr)),
        }
    }
    assert!(!won.is_empty(), "somebody wins");
    let commits = bucket.json(&["log", "-C", &url])["commits"].as_array().expect("a list").len();
    assert_eq!(commits, won.len() + 1);
    let rows = bucket.run(&["export", "-C", &url, "--table", "t", "-o", "-", "--format", "csv"]).ok().stdout;
    assert_eq!(rows.lines().count(), 501 + 50 * won.len());
    for from in won {
        assert!(rows.contains(&format!("\n{},", from + 49)), "{from} was told that it had won");
    }
    assert_eq!(bucket.json(&["verify", "--deep", "-C", &url])["sound"], true);
}
